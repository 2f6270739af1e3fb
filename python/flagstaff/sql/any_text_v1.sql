-- In a SQL_ASCII database, text that is not UTF-8 would make the whole query fail. With this client
-- encoding the server sends it, and only the rows that hold it are ignored. Lasts until the end of
-- the transaction.
SELECT pg_catalog.set_config('client_encoding', 'SQL_ASCII', true)
WHERE pg_catalog.getdatabaseencoding()::text OPERATOR(pg_catalog.=) 'SQL_ASCII'
