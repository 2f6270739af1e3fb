-- The workers that have reported their counts, and have neither ended nor missed a flush.
SELECT host, pid
FROM {report_table}
WHERE report OPERATOR(pg_catalog.=) 'usage'
    AND stopped_at IS NULL
    AND expected_by OPERATOR(pg_catalog.>=) pg_catalog.clock_timestamp()
