-- Deletes a number of the rows of hours and days that ended before a time.
WITH deleted AS (
    DELETE FROM {usage_table}
    WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
        SELECT ctid FROM {usage_table}
        WHERE hour OPERATOR(pg_catalog.<=)
                (%(before)s::timestamptz OPERATOR(pg_catalog.-) interval '1 hour')
            AND last_at OPERATOR(pg_catalog.<) %(before)s
        ORDER BY hour LIMIT %(batch)s
        -- A row that a worker writes now is not old, and to wait for it could deadlock.
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING 1
)
SELECT
    pg_catalog.count(*),
    CASE WHEN pg_catalog.count(*) OPERATOR(pg_catalog.=) %(batch)s THEN 0 END
FROM deleted
