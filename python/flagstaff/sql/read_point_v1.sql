-- The tables that a load reads, and all tables that inherit from them, as identify finds them. $1
-- are the names, each quoted as in a query. A part of the load's transaction: a table that inherits
-- only for the time of one load is found too.
WITH RECURSIVE family (id) AS (
    SELECT pg_catalog.to_regclass(name)::oid FROM pg_catalog.unnest($1::text[]) AS name
    UNION
    SELECT i.inhrelid
    FROM family
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) family.id
    JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) i.inhrelid
        AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
)
SELECT ARRAY(SELECT id FROM family WHERE id IS NOT NULL ORDER BY id) AS tables
