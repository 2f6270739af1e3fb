-- Deletes a number of the workers that ended before a time, and those that reported usage before it
-- last: nobody counts them as lost. A worker that has ended repeats no flush.
WITH deleted AS (
    DELETE FROM {report_table}
    WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
        SELECT ctid FROM {report_table}
        WHERE CASE
            WHEN report OPERATOR(pg_catalog.=) 'usage' THEN last_seen_at
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
