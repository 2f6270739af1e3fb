-- Deletes a number of the workers that ended before a time. A worker that has ended repeats no flush.
-- A heartbeat has no end: a worker that ends normally deletes it. Nobody counts the lost workers of usage.
WITH deleted AS (
    DELETE FROM {report_table}
    WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
        SELECT ctid FROM {report_table}
        WHERE CASE
            WHEN report OPERATOR(pg_catalog.=) ANY (ARRAY['refresh', 'usage']) THEN last_seen_at
            ELSE stopped_at
        END OPERATOR(pg_catalog.<) %(before)s
        LIMIT %(batch)s
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING 1
)
SELECT
    pg_catalog.count(*),
    CASE WHEN pg_catalog.count(*) OPERATOR(pg_catalog.=) %(batch)s THEN 0 END
FROM deleted
