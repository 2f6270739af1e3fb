-- The tokens of transactions that the load with the snapshot $1 did not see; at most one more than a
-- load accepts. Tokens of transactions that this load does not see are left out: after a restore, a
-- token may have the transaction id of another server, which does not exist here yet.
-- keys are those of the rows that the statement changed, pairs one after the other; NULL: any row.
-- removed are the sums of the tokens that were pruned together with this one. It is an empty text,
-- which a load rejects, in place of a NULL, which no version writes, and if the load with $1 may not
-- have seen a pruned token: that token may have stored the sums of others, which are now unknown.
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
