-- The workers that were lost for a report: at a time, or now, their next flush was late, and they had
-- not reported their end. accept_flush_v1 says when a flush is late. Workers whose flush was late
-- before the other time are left out.
SELECT host, pid, started_at, last_seen_at, expected_by
FROM {report_table}
WHERE report OPERATOR(pg_catalog.=) %(report)s
    AND stopped_at IS NULL
    AND expected_by OPERATOR(pg_catalog.<)
        coalesce(%(now)s::timestamptz, pg_catalog.clock_timestamp())
    AND expected_by OPERATOR(pg_catalog.>=) coalesce(%(since)s, '-infinity'::timestamptz)
ORDER BY last_seen_at, host, pid
