-- Stores the hash of each installed function in its comment. So workers and checks of any version see
-- that a function was replaced. A dump keeps both.
DO $do$
DECLARE
    installed record;
BEGIN
    FOR installed IN
        SELECT
            p.oid::regprocedure AS name,
            pg_catalog.encode(
                pg_catalog.sha256(pg_catalog.convert_to(p.prosrc, 'UTF8')), 'hex'
            ) AS hash
        FROM pg_catalog.pg_proc AS p
        JOIN pg_catalog.pg_class AS c
            ON c.relnamespace OPERATOR(pg_catalog.=) p.pronamespace
        WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($name${token_table}$name$)::oid
            AND p.proname::text OPERATOR(pg_catalog.~) '^flagstaff_[a-z_]+_v1$'
    LOOP
        EXECUTE pg_catalog.format(
            'COMMENT ON FUNCTION %s IS %L',
            installed.name,
            pg_catalog.concat('flagstaff: SHA-256 of the body ', installed.hash)
        );
    END LOOP;
END
$do$;
