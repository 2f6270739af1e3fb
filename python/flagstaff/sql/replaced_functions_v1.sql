-- The functions in a schema whose body is not the one that was installed, by the hash in their
-- comment (function_hashes_v1). Functions of older versions have none.
SELECT f.proname
FROM pg_catalog.pg_proc AS f
JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) f.pronamespace
JOIN pg_catalog.pg_description AS d
    ON d.objoid OPERATOR(pg_catalog.=) f.oid
    AND d.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::regclass
    AND d.objsubid OPERATOR(pg_catalog.=) 0
WHERE pg_catalog.quote_ident(n.nspname) OPERATOR(pg_catalog.=) %s
    AND d.description OPERATOR(pg_catalog.^@) 'flagstaff: SHA-256 of the body '
    AND pg_catalog.right(d.description, 64) OPERATOR(pg_catalog.<>) pg_catalog.encode(
        pg_catalog.sha256(pg_catalog.convert_to(f.prosrc, 'UTF8')), 'hex'
    )
ORDER BY f.proname::text
