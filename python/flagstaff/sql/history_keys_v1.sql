-- The keys in the history that contain a text, ignoring case. Reads one entry of each key from the
-- index, so that the time depends on the number of keys and not on that of entries.
WITH RECURSIVE known AS (
    (SELECT key FROM {change_table} ORDER BY key LIMIT 1)
    UNION ALL
    SELECT (
        SELECT change.key FROM {change_table} AS change
        WHERE change.key OPERATOR(pg_catalog.>) known.key ORDER BY change.key LIMIT 1
    )
    FROM known WHERE known.key IS NOT NULL
)
SELECT key FROM known
WHERE pg_catalog.strpos(pg_catalog.lower(key), pg_catalog.lower(%s)) OPERATOR(pg_catalog.>) 0
LIMIT %s
