-- Which transactions and which catalog a load sees. $1 are the tables that it reads, $2 all tables
-- that a load may read, each name quoted as in a query.
-- tables are those that the load reads, and all that inherit from them, as identify finds them. So a
-- table that inherits only during one load is found, too.
-- transactions are those that the load sees, as PostgreSQL writes a snapshot.
-- catalog is a hash. It changes with every ALTER of a table, a trigger or its functions, when a table
-- is replaced, truncated or inherits, and when a subscription begins or ends. It is read in the load's
-- own transaction. So a load that sees a write without a token also sees the change of the catalog
-- that was the reason.
WITH RECURSIVE family (id, is_loaded) AS (
    SELECT pg_catalog.to_regclass(name)::oid, name OPERATOR(pg_catalog.=) ANY ($1::text[])
    FROM pg_catalog.unnest($2::text[]) AS name
    UNION
    SELECT i.inhrelid, family.is_loaded
    FROM family
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) family.id
    JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) i.inhrelid
        AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
), found AS (
    SELECT
        ARRAY(
            SELECT DISTINCT id FROM family WHERE id IS NOT NULL AND is_loaded ORDER BY id
        ) AS tables,
        ARRAY(SELECT id FROM family) AS all_tables
), triggers AS (
    SELECT t.oid, t.xmin, t.tgfoid
    FROM pg_catalog.pg_trigger AS t, found
    WHERE t.tgrelid OPERATOR(pg_catalog.=) ANY (found.all_tables) AND NOT t.tgisinternal
), parts (position, oid, version) AS (
    SELECT 1, c.oid, c.xmin
    FROM pg_catalog.pg_class AS c, found
    WHERE c.oid OPERATOR(pg_catalog.=) ANY (found.all_tables)
    UNION ALL
    SELECT 2, a.attrelid, a.xmin
    FROM pg_catalog.pg_attribute AS a, found
    WHERE a.attrelid OPERATOR(pg_catalog.=) ANY (found.all_tables)
        AND a.attnum OPERATOR(pg_catalog.>) 0
    UNION ALL
    SELECT 3, oid, xmin FROM triggers
    UNION ALL
    SELECT 4, p.oid, p.xmin
    FROM pg_catalog.pg_proc AS p
    WHERE p.oid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT tgfoid FROM triggers))
    UNION ALL
    SELECT 5, called.oid, called.xmin
    FROM pg_catalog.pg_proc AS p
    JOIN pg_catalog.pg_proc AS called
        ON called.proname OPERATOR(pg_catalog.=) 'flagstaff_write_token_v1'
        AND called.pronamespace OPERATOR(pg_catalog.=) p.pronamespace
    WHERE p.oid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT tgfoid FROM triggers))
    UNION ALL
    SELECT 6, s.srrelid, s.srsubid::text::xid
    FROM pg_catalog.pg_subscription_rel AS s, found
    WHERE s.srrelid OPERATOR(pg_catalog.=) ANY (found.all_tables)
)
SELECT
    found.tables,
    pg_catalog.pg_current_snapshot()::text AS transactions,
    (
        SELECT pg_catalog.hashtextextended(
            pg_catalog.string_agg(
                pg_catalog.concat_ws(' ', position, oid, version), ','
                ORDER BY position, oid, version::text
            ),
            0
        )
        FROM parts
    ) AS catalog
FROM found
