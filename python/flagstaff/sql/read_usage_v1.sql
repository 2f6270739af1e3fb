-- What was asked since a moment, of one key or of all. The hour that has begun then counts whole:
-- it need not be one of the project's clocks.
SELECT hour, key, defined, yes, no, last_asked
FROM {usage_table}
WHERE key = coalesce(%s, key)
    AND hour > coalesce(%s::timestamptz - interval '1 hour', '-infinity'::timestamptz)
ORDER BY hour, key, defined
