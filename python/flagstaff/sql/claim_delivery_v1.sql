-- Claims the next delivery of a receiver for this many seconds: one that is due, unclaimed, and the
-- oldest of its flag, value or segment. It is sent without a lock.
-- Called first for new deliveries, then for repeated ones, the least often attempted first: a
-- message that crashes the receiver each time does not block the others.
WITH head AS MATERIALIZED (
    SELECT d.id, r.consecutive_failures
    FROM {delivery_table} AS d
    JOIN {receiver_table} AS r ON r.name OPERATOR(pg_catalog.=) d.receiver
    WHERE d.receiver OPERATOR(pg_catalog.=) %s
        AND (d.attempts OPERATOR(pg_catalog.=) 0) OPERATOR(pg_catalog.=) %s
        AND d.failed_at IS NULL
        AND d.due_at OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp()
        AND coalesce(d.claim_expires_at OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp(), true)
        AND coalesce(r.paused_until OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp(), true)
        -- By row and by key: another row may reuse a key, and a row's key may change.
        AND NOT EXISTS (
            SELECT FROM {delivery_table} AS e
            WHERE e.receiver OPERATOR(pg_catalog.=) d.receiver
                AND e.relation OPERATOR(pg_catalog.=) d.relation
                AND e.object_pk OPERATOR(pg_catalog.=) d.object_pk
                AND e.id OPERATOR(pg_catalog.<) d.id AND e.failed_at IS NULL
        )
        AND NOT EXISTS (
            SELECT FROM {delivery_table} AS e
            WHERE e.receiver OPERATOR(pg_catalog.=) d.receiver
                AND e.relation OPERATOR(pg_catalog.=) d.relation
                AND e.key OPERATOR(pg_catalog.=) d.key
                AND e.id OPERATOR(pg_catalog.<) d.id AND e.failed_at IS NULL
        )
    ORDER BY d.attempts, d.id
    LIMIT 1
    FOR UPDATE OF d SKIP LOCKED
)
UPDATE {delivery_table} AS d
SET
    attempts = d.attempts OPERATOR(pg_catalog.+) 1,
    claim_expires_at =
        pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => %s)
FROM head
WHERE d.id OPERATOR(pg_catalog.=) head.id
RETURNING d.id, d.relation, d.entry_ids, d.attempts, head.consecutive_failures
