-- Adds a receiver. It gets what is committed from now on.
WITH now AS MATERIALIZED (
    SELECT ARRAY(
        SELECT xid::text::bigint
        FROM pg_catalog.pg_snapshot_xip(pg_catalog.pg_current_snapshot()) AS xid
    ) AS open
)
INSERT INTO {receiver_table} (name, last_entry_id, open_transactions, excluded_entry_ids)
SELECT
    %s,
    coalesce((SELECT pg_catalog.max(id) FROM {change_table}), 0),
    open,
    ARRAY(SELECT id FROM {change_table} WHERE transaction_id OPERATOR(pg_catalog.=) ANY (open))
FROM now
ON CONFLICT (name) DO NOTHING
