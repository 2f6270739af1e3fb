-- The hosts of the workers that have reported since a time; NULL if no worker has ever reported.
SELECT CASE WHEN pg_catalog.count(*) OPERATOR(pg_catalog.>) 0 THEN coalesce(
    pg_catalog.array_agg(DISTINCT host ORDER BY host)
        FILTER (WHERE last_seen_at OPERATOR(pg_catalog.>=) %s),
    '{}'
) END
FROM {report_table}
WHERE report OPERATOR(pg_catalog.=) 'usage'
