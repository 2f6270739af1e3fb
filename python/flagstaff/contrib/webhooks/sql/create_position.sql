-- Adds a receiver. It gets what is committed from now on.
WITH now AS MATERIALIZED (
    SELECT ARRAY(
        SELECT xid::text::bigint
        FROM pg_catalog.pg_snapshot_xip(pg_catalog.pg_current_snapshot()) AS xid
    ) AS open
)
INSERT INTO flagstaff_webhooks_position
    (receiver, last_entry_id, open_transactions, excluded_entry_ids)
SELECT
    %s,
    coalesce((SELECT pg_catalog.max(id) FROM flagstaff_change), 0),
    pg_catalog.to_jsonb(open),
    pg_catalog.to_jsonb(ARRAY(
        SELECT id FROM flagstaff_change WHERE transaction_id OPERATOR(pg_catalog.=) ANY (open)
    ))
FROM now
ON CONFLICT (receiver) DO NOTHING
