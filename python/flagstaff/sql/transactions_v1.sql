-- How many rows transactions have changed, among the first entries of each, and how many entries these
-- are. After a restore, another server may have used the same number at a different time.
SELECT c.transaction_id,
    pg_catalog.count(DISTINCT pg_catalog.concat(pg_catalog.translate(c.relation::text, 'm', 'f'), c.object_pk)),
    pg_catalog.count(*)
FROM ROWS FROM (
    pg_catalog.unnest(%(transactions)s::int8[]), pg_catalog.unnest(%(times)s::timestamptz[])
) AS wanted (transaction_id, at)
CROSS JOIN LATERAL (
    SELECT * FROM {change_table} AS c
    -- As a range, so that no index of the ids alone gives the order: while the statistics know only
    -- one transaction, as after an import, it would be read for each of these.
    WHERE c.transaction_id OPERATOR(pg_catalog.>=) wanted.transaction_id
        AND c.transaction_id OPERATOR(pg_catalog.<=) wanted.transaction_id
    ORDER BY c.transaction_id LIMIT %(limit)s
) AS c
WHERE c.at OPERATOR(pg_catalog.>) (wanted.at OPERATOR(pg_catalog.-) '1 day'::interval)
    AND c.at OPERATOR(pg_catalog.<) (wanted.at OPERATOR(pg_catalog.+) '1 day'::interval)
    AND c.object_table::oid OPERATOR(pg_catalog.=) ANY (ARRAY(
        SELECT pg_catalog.to_regclass(t)::oid FROM pg_catalog.unnest(%(tables)s::text[]) AS t
    ))
GROUP BY c.transaction_id
