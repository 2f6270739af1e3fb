-- The random number of a barrier.
SELECT nonce FROM {token_table} WHERE id OPERATOR(pg_catalog.=) %s::bigint
