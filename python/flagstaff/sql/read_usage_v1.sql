-- Usage since a time, of one key or of all keys. Includes the whole hour in which the time is.
SELECT hour, key, defined, true_count, false_count, last_evaluated_at
FROM {usage_table}
WHERE key = coalesce(%s, key)
    AND hour > coalesce(%s::timestamptz - interval '1 hour', '-infinity'::timestamptz)
ORDER BY hour, key, defined
