-- Drop the hours that were over before a moment, and the workers that were last heard of before it.
-- One that was heard of a day ago may still send its last flush again, which must find its number.
WITH gone_workers AS (
    DELETE FROM {usage_worker_table}
    WHERE last_seen_at < least(%s, pg_catalog.clock_timestamp() - interval '1 day')
), gone AS (
    DELETE FROM {usage_table}
    WHERE hour <= %s - interval '1 hour'
    RETURNING 1
)
SELECT count(*) FROM gone
