-- Those of the tokens that are there, each with the half of its nonce that workers show. After a
-- restore or a failover the same id can be another token.
SELECT id, pg_catalog.lpad(pg_catalog.to_hex(nonce & 4294967295), 8, '0') AS nonce
FROM {token_table}
WHERE id = ANY (%s::bigint[])
