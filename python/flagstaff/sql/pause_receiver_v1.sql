-- Pauses an unreachable receiver for this many seconds.
UPDATE {receiver_table}
SET
    consecutive_failures = consecutive_failures OPERATOR(pg_catalog.+) 1,
    paused_until =
        pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => %s)
WHERE name OPERATOR(pg_catalog.=) %s
