-- The triggers of flagstaff on some tables and on those that inherit from them. A table without
-- triggers has one row. The rules are those of identify_v1.
-- events are the bits of tgtype for INSERT (4), DELETE (8), UPDATE (16) and TRUNCATE (32), of a trigger
-- that fires after each statement, without a condition or columns; else 0.
-- Triggers are found by name or by function, because either can be renamed.
WITH RECURSIVE family (root, head, id) AS (
    SELECT root, pg_catalog.to_regclass(root)::oid, pg_catalog.to_regclass(root)::oid
    FROM pg_catalog.unnest(%s::text[]) AS given (root)
    UNION
    SELECT family.root, family.head, i.inhrelid
    FROM family
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) family.id
    -- No session reads the temporary tables of another.
    JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) i.inhrelid
        AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
), own AS (
    SELECT
        t.tgrelid, t.tgname, t.tgenabled::text AS enabled,
        CASE WHEN t.tgtype OPERATOR(pg_catalog.&) 3 OPERATOR(pg_catalog.=) 0
                AND t.tgqual IS NULL AND t.tgattr::text OPERATOR(pg_catalog.=) ''
            THEN t.tgtype OPERATOR(pg_catalog.&) 60 ELSE 0
        END AS events,
        pg_catalog.quote_ident(n.nspname) AS schema, p.pronamespace, p.proname, t.tgargs
    FROM pg_catalog.pg_trigger AS t
    JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
    WHERE t.tgrelid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT id FROM family))
        AND (
            t.tgname::text OPERATOR(pg_catalog.~~) 'flagstaff\_%%'
            OR p.proname::text OPERATOR(pg_catalog.~~) 'flagstaff\_%%'
        )
), checked AS MATERIALIZED (
    -- Once for each function: their digests take as long as all else.
    SELECT
        used.pronamespace,
        used.proname,
        NOT EXISTS (
            SELECT
            FROM pg_catalog.pg_proc AS f
            JOIN pg_catalog.pg_description AS d
                ON d.objoid OPERATOR(pg_catalog.=) f.oid
                AND d.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::regclass
                AND d.objsubid OPERATOR(pg_catalog.=) 0
            WHERE f.pronamespace OPERATOR(pg_catalog.=) used.pronamespace
                AND f.proname OPERATOR(pg_catalog.=) ANY (ARRAY[
                    used.proname,
                    -- The function that it calls.
                    CASE WHEN used.proname::text OPERATOR(pg_catalog.~~) 'flagstaff\_token\_v%%'
                        THEN 'flagstaff_write_token_v1'::name ELSE 'flagstaff_hidden_v1'::name
                    END
                ])
                AND d.description OPERATOR(pg_catalog.^@) 'flagstaff: SHA-256 of the body '
                AND pg_catalog.right(d.description, 64) OPERATOR(pg_catalog.<>) pg_catalog.encode(
                    pg_catalog.sha256(pg_catalog.convert_to(f.prosrc, 'UTF8')), 'hex'
                )
        ) AS is_original
    FROM (SELECT DISTINCT pronamespace, proname FROM own) AS used
)
SELECT
    family.root,
    pg_catalog.concat(
        pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(c.relname)
    ) AS qualified,
    family.id OPERATOR(pg_catalog.<>) family.head AS is_heir,
    own.tgname,
    own.enabled,
    own.events,
    own.schema,
    own.proname,
    own.tgargs,
    checked.is_original
FROM family
JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) family.id
JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
LEFT JOIN own ON own.tgrelid OPERATOR(pg_catalog.=) family.id
LEFT JOIN checked ON checked.pronamespace OPERATOR(pg_catalog.=) own.pronamespace
    AND checked.proname OPERATOR(pg_catalog.=) own.proname
ORDER BY qualified, own.tgname::text
