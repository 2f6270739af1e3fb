-- impact_extent_v1
-- The number of pages of the user table $1, or of its largest partition or child table.
-- NULL if it has no pages, as a view or a foreign table.
WITH RECURSIVE tables (id) AS (
    SELECT pg_catalog.to_regclass($1)::oid
    UNION
    SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i
    JOIN tables AS t ON i.inhparent OPERATOR(pg_catalog.=) t.id
)
SELECT
    CASE WHEN pg_catalog.bool_and(
            c.relkind OPERATOR(pg_catalog.=) 'p' OR coalesce(a.amname OPERATOR(pg_catalog.=) 'heap', false)
        )
        THEN pg_catalog.max(pg_catalog.pg_relation_size(c.oid))
            OPERATOR(pg_catalog./) pg_catalog.current_setting('block_size')::int8
    END AS pages
FROM tables AS t
JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) t.id
LEFT JOIN pg_catalog.pg_am AS a ON a.oid OPERATOR(pg_catalog.=) c.relam
