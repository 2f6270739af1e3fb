-- Deletes the entries that are older than a time. The limit is an id, so that each row keeps an
-- unbroken end of its history even if the clocks of two sessions disagreed. The newest entry of each
-- existing row stays, because it is the version of the row.
WITH first_kept AS (
    SELECT coalesce(
        pg_catalog.min(id), (SELECT pg_catalog.max(id) OPERATOR(pg_catalog.+) 1 FROM {change_table})
    ) AS id
    FROM {change_table} WHERE at OPERATOR(pg_catalog.>=) %s
), versions AS (
    SELECT pg_catalog.max(id) AS id
    FROM {change_table}
    GROUP BY object_table, object_pk
    HAVING
        object_table OPERATOR(pg_catalog.=) (SELECT pg_catalog.to_regclass(%s))
        AND object_pk OPERATOR(pg_catalog.=) ANY (SELECT {value_pk}::text FROM {value_table})
        OR object_table OPERATOR(pg_catalog.=) (SELECT pg_catalog.to_regclass(%s))
        AND object_pk OPERATOR(pg_catalog.=) ANY (SELECT {flag_pk}::text FROM {flag_table})
        OR object_table OPERATOR(pg_catalog.=) (SELECT pg_catalog.to_regclass(%s))
        AND object_pk OPERATOR(pg_catalog.=) ANY (SELECT {segment_pk}::text FROM {segment_table})
), deleted AS (
    DELETE FROM {change_table}
    WHERE id OPERATOR(pg_catalog.<) (SELECT id FROM first_kept)
        AND NOT id OPERATOR(pg_catalog.=) ANY (SELECT id FROM versions)
    RETURNING 1
)
SELECT pg_catalog.count(*) FROM deleted
