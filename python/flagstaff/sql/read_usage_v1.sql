-- What was counted of some keys, or of all, and was last counted after a time.
SELECT hour, key, result, count, last_at
FROM {usage_table}
WHERE key OPERATOR(pg_catalog.=) ANY (coalesce(%(keys)s::text[], ARRAY[key]))
    AND hour OPERATOR(pg_catalog.>) coalesce(
        %(since)s::timestamptz OPERATOR(pg_catalog.-) interval '1 day', '-infinity'::timestamptz
    )
    AND last_at OPERATOR(pg_catalog.>=) coalesce(%(since)s::timestamptz, '-infinity'::timestamptz)
    AND result OPERATOR(pg_catalog.<>) 'report'
ORDER BY hour, key, result
