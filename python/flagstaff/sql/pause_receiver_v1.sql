-- Pauses a receiver that does not respond for a number of seconds.
UPDATE {receiver_table}
SET
    failures = failures + 1,
    paused_until = pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => %s)
WHERE name = %s
