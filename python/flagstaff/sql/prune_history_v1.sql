-- Deletes the entries before a time. By id, so that the remaining history of each row has no gaps
-- even if the clocks of two sessions differ. The newest entry of an existing row stays, because it
-- is the version that open pages compare.
WITH cut AS (
    SELECT coalesce(min(id), (SELECT max(id) + 1 FROM {change_table})) AS id
    FROM {change_table} WHERE at >= %s
), retained AS (
    SELECT max(id) AS id
    FROM {change_table}
    GROUP BY relation = 'k', object_pk
    HAVING bool_and(relation = 'k') AND object_pk IN (SELECT {value_pk}::text FROM {value_table})
        OR bool_and(relation <> 'k') AND object_pk IN (SELECT {flag_pk}::text FROM {flag_table})
), deleted AS (
    DELETE FROM {change_table}
    WHERE id < (SELECT id FROM cut) AND id NOT IN (SELECT id FROM retained)
    RETURNING 1
)
SELECT count(*) FROM deleted
