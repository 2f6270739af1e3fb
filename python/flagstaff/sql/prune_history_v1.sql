-- Deletes the entries that are older than a time. The limit is an id, so that each row keeps an
-- unbroken end of its history even if the clocks of two sessions disagreed. The newest entry of each
-- existing row stays, because it is the version of the row.
WITH first_kept AS (
    SELECT coalesce(min(id), (SELECT max(id) + 1 FROM {change_table})) AS id
    FROM {change_table} WHERE at >= %s
), versions AS (
    SELECT max(id) AS id
    FROM {change_table}
    GROUP BY relation = 'k', object_pk
    HAVING bool_and(relation = 'k') AND object_pk IN (SELECT {value_pk}::text FROM {value_table})
        OR bool_and(relation <> 'k') AND object_pk IN (SELECT {flag_pk}::text FROM {flag_table})
), deleted AS (
    DELETE FROM {change_table}
    WHERE id < (SELECT id FROM first_kept) AND id NOT IN (SELECT id FROM versions)
    RETURNING 1
)
SELECT count(*) FROM deleted
