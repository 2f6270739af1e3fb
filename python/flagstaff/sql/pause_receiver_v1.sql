-- Pauses an unreachable receiver for this many seconds.
UPDATE {receiver_table}
SET
    consecutive_failures = consecutive_failures + 1,
    paused_until = pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => %s)
WHERE name = %s
