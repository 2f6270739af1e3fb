-- The tokens with these ids that exist, each with the half of its nonce that workers publish. After
-- a restore or a failover, the same id can be a different token.
SELECT
    id,
    pg_catalog.lpad(pg_catalog.to_hex(nonce OPERATOR(pg_catalog.&) 4294967295), 8, '0') AS nonce
FROM {token_table}
WHERE id OPERATOR(pg_catalog.=) ANY (%s::bigint[])
