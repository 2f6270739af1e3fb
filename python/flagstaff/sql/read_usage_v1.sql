-- Usage since a time, of one key or of all keys. Includes the whole hour in which the time is.
SELECT hour, key, defined, true_count, false_count, last_evaluated_at
FROM {usage_table}
WHERE key OPERATOR(pg_catalog.=) coalesce(%s, key)
    AND hour OPERATOR(pg_catalog.>) coalesce(
        %s::timestamptz OPERATOR(pg_catalog.-) interval '1 hour', '-infinity'::timestamptz
    )
ORDER BY hour, key, defined
