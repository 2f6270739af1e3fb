-- A database that takes any bytes for text would refuse to send those that are no UTF-8, and with
-- them all that is read. This way they come, and what holds them is set aside alone. Until the end
-- of the transaction.
SELECT pg_catalog.set_config('client_encoding', 'SQL_ASCII', true)
WHERE pg_catalog.getdatabaseencoding()::text = 'SQL_ASCII'::text
