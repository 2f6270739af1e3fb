-- Deletes the row of a worker behind a pooler that ends.
DELETE FROM {worker_table} WHERE worker OPERATOR(pg_catalog.=) $1
