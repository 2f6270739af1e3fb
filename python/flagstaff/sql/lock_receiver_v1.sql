-- How far a receiver has read. The run that locks the row enqueues; no other run waits for it.
SELECT last_entry_id, open_transactions, excluded_entry_ids
FROM {receiver_table}
WHERE name OPERATOR(pg_catalog.=) %s
FOR UPDATE SKIP LOCKED
