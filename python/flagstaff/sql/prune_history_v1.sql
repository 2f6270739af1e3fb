-- Drop the entries before a moment. By id, so that of each row a whole end of its history is left,
-- whatever order the clocks of two sessions were in. The newest entry of a row that is there stays:
-- it is its version, and a page that is open compares it.
WITH cut AS (
    SELECT coalesce(min(id), (SELECT max(id) + 1 FROM {change_table})) AS id
    FROM {change_table} WHERE at >= %s
), kept AS (
    SELECT max(id) AS id
    FROM {change_table}
    GROUP BY relation = 'k', object_pk
    HAVING bool_and(relation = 'k') AND object_pk IN (SELECT {value_pk}::text FROM {value_table})
        OR bool_and(relation <> 'k') AND object_pk IN (SELECT {flag_pk}::text FROM {flag_table})
), gone AS (
    DELETE FROM {change_table}
    WHERE id < (SELECT id FROM cut) AND id NOT IN (SELECT id FROM kept)
    RETURNING 1
)
SELECT count(*) FROM gone
