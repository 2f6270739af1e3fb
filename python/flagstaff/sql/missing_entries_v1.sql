-- How many of the kept tokens stand for a change without an entry in the history, and the time of the
-- newest one.
SELECT
    pg_catalog.count(*),
    pg_catalog.max(at)
FROM {token_table}
WHERE entry_missing
