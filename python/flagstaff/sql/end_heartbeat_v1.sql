-- Deletes the row of a worker behind a pooler that ends.
DELETE FROM {report_table} WHERE worker OPERATOR(pg_catalog.=) $1
