-- The position of a receiver. Only the transaction that locks the row queues its deliveries.
SELECT last_entry, open_transactions, known_entries
FROM {receiver_table} WHERE name = %s FOR UPDATE SKIP LOCKED
