-- The releases of the workers that write a report now: they have neither reported their end nor been
-- lost. One row without text stands for all workers without a release.
SELECT DISTINCT release
FROM {report_table}
WHERE report OPERATOR(pg_catalog.=) %(report)s
    AND stopped_at IS NULL
    AND expected_by OPERATOR(pg_catalog.>=) pg_catalog.clock_timestamp()
