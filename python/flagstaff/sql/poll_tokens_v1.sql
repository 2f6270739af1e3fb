-- A summary of the visible tokens for each relation, compared for equality only.
-- Functions are schema-qualified: others in the search path could match the arguments better, and
-- would run with the privileges of the worker.
-- newest_asking is the newest barrier that asks workers behind replication.
-- nonce is that of the newest token of all relations.
SELECT
    relation::text AS relation,
    pg_catalog.max(id) AS newest,
    pg_catalog.max(id) FILTER (
        WHERE relation OPERATOR(pg_catalog.=) 'b'
            AND pg_catalog.cardinality(pks) OPERATOR(pg_catalog.>) 0
    ) AS newest_asking,
    pg_catalog.concat_ws(
        ' ', pg_catalog.count(*), pg_catalog.sum(id), pg_catalog.sum(nonce)
    ) AS sums,
    pg_catalog.count(*) FILTER (WHERE entry_missing) AS missing,
    -- As text, because a row that SQL has written may have any time.
    pg_catalog.to_char(
        pg_catalog.timezone('UTC', pg_catalog.max(at) FILTER (WHERE entry_missing)),
        'YYYY-MM-DD"T"HH24:MI:SS"Z"'
    ) AS missing_at,
    (SELECT nonce FROM {token_table} ORDER BY id DESC LIMIT 1) AS nonce,
    pg_catalog.pg_is_in_recovery() AS standby
FROM {token_table}
GROUP BY relation
