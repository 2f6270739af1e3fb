-- The keys that were evaluated without a flag since a time and have none yet, the last evaluated
-- first: the first hour, how often, the last time, and on each row how many there are.
SELECT
    pg_catalog.min(u.hour),
    u.key,
    'unknown',
    pg_catalog.sum(u.count)::bigint,
    pg_catalog.max(u.last_at),
    pg_catalog.count(*) OVER ()
FROM {usage_table} AS u
WHERE u.result OPERATOR(pg_catalog.=) 'unknown'
    AND u.last_at OPERATOR(pg_catalog.>=) coalesce(%(since)s::timestamptz, '-infinity'::timestamptz)
    AND u.hour OPERATOR(pg_catalog.>) coalesce(
        %(since)s::timestamptz OPERATOR(pg_catalog.-) interval '1 hour', '-infinity'::timestamptz
    )
    AND NOT EXISTS (
        SELECT FROM {flag_table} AS f WHERE f.{flag_key}::text OPERATOR(pg_catalog.=) u.key
    )
GROUP BY u.key
ORDER BY 5 DESC, 2
LIMIT %(limit)s OFFSET %(offset)s
