-- Decodes texts in the encoding of the database to UTF-8, in their order. Fails if one of them has
-- no equivalent in UTF-8.
SELECT pg_catalog.convert(encoded, pg_catalog.getdatabaseencoding(), 'UTF8') AS decoded
FROM pg_catalog.unnest($1) AS encoded
