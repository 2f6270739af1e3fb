-- The results of values with rules since a time, of one key or of all keys. Includes the whole hour
-- in which the time is.
SELECT key, result, pg_catalog.sum(count)::bigint, pg_catalog.max(hour)
FROM {value_usage_table}
WHERE key OPERATOR(pg_catalog.=) coalesce(%s, key)
    AND hour OPERATOR(pg_catalog.>) coalesce(
        %s::timestamptz OPERATOR(pg_catalog.-) interval '1 hour', '-infinity'::timestamptz
    )
GROUP BY key, result
ORDER BY key, result
