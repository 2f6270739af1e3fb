-- A receiver that is new is told what is committed from now on.
INSERT INTO {receiver_table} (name, seen, newest)
SELECT %s, pg_catalog.pg_current_snapshot(), coalesce(pg_catalog.max(id), 0)
FROM {change_table}
ON CONFLICT (name) DO NOTHING
