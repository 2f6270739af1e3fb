-- Whoever has the row takes its changes. Nobody waits for it.
SELECT true FROM {receiver_table} WHERE name = %s FOR UPDATE SKIP LOCKED
