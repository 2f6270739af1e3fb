-- Deletes a number of the hours that ended before a time, and the workers that were last seen before
-- it. A worker stays for a day, because it may repeat its last flush, which needs its sequence. Also
-- deletes when flags were served in bulk, if that was before the time, and results of values.
WITH deleted_workers AS (
    DELETE FROM {report_table}
    WHERE report OPERATOR(pg_catalog.=) 'usage' AND last_seen_at OPERATOR(pg_catalog.<) least(
        %(before)s::timestamptz, pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) interval '1 day'
    )
), deleted_bulk_usage AS (
    DELETE FROM {bulk_usage_table}
    -- A row that a worker writes now is not old, and to wait for it could deadlock.
    WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
        SELECT ctid FROM {bulk_usage_table}
        WHERE greatest(served_in_bulk_at, served_to_browsers_at) OPERATOR(pg_catalog.<=)
            (%(before)s::timestamptz OPERATOR(pg_catalog.-) interval '1 hour')
        FOR UPDATE SKIP LOCKED
    ))
), deleted_value_usage AS (
    DELETE FROM {value_usage_table}
    WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
        SELECT ctid FROM {value_usage_table}
        WHERE hour OPERATOR(pg_catalog.<=)
            (%(before)s::timestamptz OPERATOR(pg_catalog.-) interval '1 hour')
        FOR UPDATE SKIP LOCKED
    ))
), deleted AS (
    DELETE FROM {usage_table}
    WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
        SELECT ctid FROM {usage_table}
        WHERE hour OPERATOR(pg_catalog.<=)
            (%(before)s::timestamptz OPERATOR(pg_catalog.-) interval '1 hour')
        ORDER BY hour LIMIT %(batch)s
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING 1
)
SELECT
    pg_catalog.count(*),
    CASE WHEN pg_catalog.count(*) OPERATOR(pg_catalog.=) %(batch)s THEN 0 END
FROM deleted
