-- The tokens of transactions that the load with the snapshot $1 did not see; one more than a load
-- looks at. Not those of another server, as after a restore: here, a transaction with such a number
-- may not have begun.
-- keys are those of the rows that the statement changed, pairs one after the other; NULL: any row.
-- A NULL in removed, which no version writes, becomes a text that cannot be read.
SELECT
    relation::text AS relation,
    pg_catalog.concat_ws(' ', 1, id, nonce) AS sums,
    CASE WHEN pks IS NOT NULL THEN ARRAY(SELECT pg_catalog.unnest(pks)) END AS keys,
    ARRAY(SELECT coalesce(item, '') FROM pg_catalog.unnest(removed) AS item) AS removed
FROM {token_table}
WHERE NOT pg_catalog.pg_visible_in_snapshot(xact, $1::text::pg_catalog.pg_snapshot)
    AND pg_catalog.pg_visible_in_snapshot(xact, pg_catalog.pg_current_snapshot())
LIMIT 257
