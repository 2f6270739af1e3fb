-- impact_extent_v1
-- How many pages the users are on: those of the largest of the tables where the table $1 has
-- partitions or heirs. NULL where they are not on pages: of a view, or of a table elsewhere.
WITH RECURSIVE held (id) AS (
    SELECT pg_catalog.to_regclass($1)::oid
    UNION
    SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i
    JOIN held AS h ON i.inhparent OPERATOR(pg_catalog.=) h.id
)
SELECT
    CASE WHEN pg_catalog.bool_and(c.relkind = 'p' OR coalesce(a.amname = 'heap', false))
        THEN pg_catalog.max(pg_catalog.pg_relation_size(c.oid))
            / pg_catalog.current_setting('block_size')::int8
    END AS pages
FROM held AS h
JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) h.id
LEFT JOIN pg_catalog.pg_am AS a ON a.oid OPERATOR(pg_catalog.=) c.relam
