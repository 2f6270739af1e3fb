-- A summary of the visible tokens for each relation, compared for equality only.
-- Functions are schema-qualified: others in the search path could match the arguments better, and
-- would run with the privileges of the worker.
-- nonce is that of the newest token of all relations.
SELECT
    relation::text AS relation,
    pg_catalog.max(id) AS newest,
    pg_catalog.concat_ws(
        '/', pg_catalog.count(*), pg_catalog.sum(id), pg_catalog.max(id), pg_catalog.sum(nonce)
    ) AS sums,
    (SELECT nonce FROM {token_table} ORDER BY id DESC LIMIT 1) AS nonce,
    pg_catalog.pg_is_in_recovery() AS standby
FROM {token_table}
GROUP BY relation
