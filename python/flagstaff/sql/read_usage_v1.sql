-- What was asked since a moment, of one key or of all.
SELECT hour, key, defined, yes, no, last_asked
FROM {usage_table}
WHERE key = coalesce(%s, key) AND hour >= coalesce(%s, '-infinity'::timestamptz)
ORDER BY hour, key, defined
