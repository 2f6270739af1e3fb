-- Workers that reported their end in the last seconds, the newest first, each with the seconds
-- since then.
SELECT host, pid, extract(
    EPOCH FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) stopped_at
)::pg_catalog.float8
FROM {report_table}
WHERE report OPERATOR(pg_catalog.=) 'usage'
    AND stopped_at OPERATOR(pg_catalog.>=) (
        pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => %s)
    )
ORDER BY stopped_at DESC
