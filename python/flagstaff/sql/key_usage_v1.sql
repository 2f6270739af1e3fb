-- The evaluations of each of some keys: those since a time, by result and altogether, and the last one
-- ever, or the last condition that needed the flag; and when each was last served in bulk and to browsers.
SELECT
    key,
    coalesce(pg_catalog.sum(counted) FILTER (WHERE result OPERATOR(pg_catalog.=) 'true'), 0)::bigint,
    coalesce(pg_catalog.sum(counted) FILTER (WHERE result OPERATOR(pg_catalog.=) 'false'), 0)::bigint,
    coalesce(pg_catalog.sum(counted), 0)::bigint,
    pg_catalog.max(last_at) FILTER (
        WHERE result OPERATOR(pg_catalog.=) ANY (ARRAY['true', 'false', 'unknown', 'needed'])
    ),
    pg_catalog.max(last_at) FILTER (WHERE result OPERATOR(pg_catalog.=) 'bulk'),
    pg_catalog.max(last_at) FILTER (WHERE result OPERATOR(pg_catalog.=) 'browsers')
FROM pg_catalog.unnest(%(keys)s::text[]) AS given (key)
CROSS JOIN pg_catalog.unnest(ARRAY['true', 'false', 'unknown', 'needed', 'bulk', 'browsers']) AS r (result)
CROSS JOIN LATERAL (
    SELECT u.last_at FROM {usage_table} AS u
    WHERE u.key OPERATOR(pg_catalog.=) given.key AND u.result OPERATOR(pg_catalog.=) r.result
    ORDER BY u.hour DESC LIMIT 1
) AS newest
LEFT JOIN LATERAL (
    SELECT pg_catalog.sum(u.count) AS counted FROM {usage_table} AS u
    WHERE u.key OPERATOR(pg_catalog.=) given.key AND u.result OPERATOR(pg_catalog.=) r.result
        AND u.hour OPERATOR(pg_catalog.>) (%(since)s::timestamptz OPERATOR(pg_catalog.-) interval '1 hour')
) AS recent ON true
GROUP BY key
