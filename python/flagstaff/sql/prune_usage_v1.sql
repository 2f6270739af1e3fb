-- Deletes the hours that ended before a time, and the workers that were last seen before it. A
-- worker stays for a day, because it may repeat its last flush, which needs its sequence.
WITH deleted_workers AS (
    DELETE FROM {usage_worker_table}
    WHERE last_seen_at < least(%s, pg_catalog.clock_timestamp() - interval '1 day')
), deleted AS (
    DELETE FROM {usage_table}
    WHERE hour <= %s - interval '1 hour'
    RETURNING 1
)
SELECT count(*) FROM deleted
