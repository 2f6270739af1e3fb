-- Where a receiver is. Whoever has the row takes its changes. Nobody waits for it.
SELECT newest, open_then, known FROM {receiver_table} WHERE name = %s FOR UPDATE SKIP LOCKED
