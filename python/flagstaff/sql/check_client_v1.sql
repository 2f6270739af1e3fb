-- Makes the server notice within seconds that a worker has ended or given up, also while a statement
-- computes. Only servers on Linux are sure to support it. Lasts until the end of the transaction.
SELECT pg_catalog.set_config('client_connection_check_interval', '2s', true)
WHERE pg_catalog.version() OPERATOR(pg_catalog.~) '-linux-'
