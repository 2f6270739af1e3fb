-- What was asked since a moment, of one key or of all. The hour that has begun then counts whole:
-- it need not be one of the project's clocks.
SELECT hour, key, defined, true_count, false_count, last_evaluated_at
FROM {usage_table}
WHERE key = coalesce(%s, key)
    AND hour > coalesce(%s::timestamptz - interval '1 hour', '-infinity'::timestamptz)
ORDER BY hour, key, defined
