-- The tokens of transactions that the load with the snapshot $1 did not see; one more than a load
-- looks at. Not those of another server, as after a restore: here, a transaction with such a number
-- may not have begun.
-- keys are those of the rows that the statement changed, pairs one after the other; NULL: any row.
-- removed has a text that cannot be read for a NULL, which no version writes, and if that load may
-- not have seen one of these tokens: it may itself have removed others, of which no token says.
SELECT
    relation::text AS relation,
    pg_catalog.concat_ws(' ', 1, id, nonce) AS sums,
    CASE WHEN pks IS NOT NULL THEN ARRAY(SELECT pg_catalog.unnest(pks)) END AS keys,
    CASE
        WHEN removed_xact OPERATOR(pg_catalog.>=)
                pg_catalog.pg_snapshot_xmin($1::text::pg_catalog.pg_snapshot)
            THEN ARRAY['']
        ELSE ARRAY(SELECT coalesce(item, '') FROM pg_catalog.unnest(removed) AS item)
    END AS removed
FROM {token_table}
WHERE NOT pg_catalog.pg_visible_in_snapshot(xact, $1::text::pg_catalog.pg_snapshot)
    AND pg_catalog.pg_visible_in_snapshot(xact, pg_catalog.pg_current_snapshot())
LIMIT 257
