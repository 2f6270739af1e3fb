-- What the set of visible tokens looks like, per relation. Compared for equality only.
-- Functions are named with their schema: another one of the search path could fit their arguments
-- better, and would be called with the rights of the worker.
-- nonce is that of the newest token of all; standby says whose set this is.
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
