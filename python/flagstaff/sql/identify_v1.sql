-- Describes the server, and whether every change of a watched table writes a token. The rules for
-- triggers are those of flagstaff._tables.catalog.
-- $1 is the token table, $2 are the tables that a load reads, each quoted as in a query. Those that
-- exist are watched.
-- backend differs from the process id that the client received at log-in if a pooler is in between.
-- token_table is NULL if it does not exist. other_token_tables are those of other projects, which
-- have a schema each in this database, and send their notifications over the same channel.
-- tables are the watched tables and all that inherit from them.
-- hidden names the tables of which row level security can hide rows from this role, else NULL: the
-- poll would see no tokens, and a load no rows.
-- encoding is NULL if texts are UTF-8.
-- lacking is NULL if tokens can be relied on, else the reason, and lacking_in the tables of which not
-- every kind of change fires a token trigger, or the functions that were replaced. Tables that inherit
-- from a watched table are watched, too: a load reads their rows.
-- subscribed is true if rows or tokens arrive by logical replication, which fires no statement triggers.
-- Then subscription_v1 says whether tokens can be relied on.
-- key_arguments are the arguments of the token triggers: the relation and the columns of the keys,
-- each followed by a zero byte.
-- catalog is that of read_point ($3 are its tables), at the same point in time as the rest, or NULL if
-- it is not asked for.
-- shape changes with every ALTER of a trigger or of its functions, and when a table is replaced or
-- inherits: changes in between may not have written a token. relhassubclass stays true after the last
-- inheriting table is gone, so a table that inherited only between two identifications is noticed.
WITH RECURSIVE named AS (
    SELECT
        pg_catalog.to_regclass($1)::oid AS tokens,
        ARRAY(
            SELECT pg_catalog.to_regclass(name)::oid FROM pg_catalog.unnest($2::text[]) AS name
        ) AS watched
), family (id) AS (
    SELECT pg_catalog.unnest(watched) FROM named
    UNION
    SELECT i.inhrelid
    FROM family
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) family.id
    -- No session reads the temporary tables of another.
    JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) i.inhrelid
        AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
), firing AS (
    SELECT
        t.tgrelid AS id, t.tgtype AS events, t.tgargs AS arguments,
        p.pronamespace AS schema, p.proname AS function
    FROM pg_catalog.pg_trigger AS t
    JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
    WHERE t.tgrelid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT id FROM family))
        AND p.proname::text OPERATOR(pg_catalog.~~) 'flagstaff\_token\_v%'
        -- ENABLE ALWAYS: others are silent in sessions that replicate or restore.
        AND t.tgenabled OPERATOR(pg_catalog.=) 'A'
        -- After each statement, without a condition or columns: every statement fires it, and it sees
        -- the rows.
        AND t.tgtype OPERATOR(pg_catalog.&) 3 OPERATOR(pg_catalog.=) 0
        AND t.tgqual IS NULL
        AND t.tgattr::text OPERATOR(pg_catalog.=) ''
), functions AS (
    SELECT DISTINCT p.oid, p.xmin::text, p.proname::text AS name, p.prosrc
    FROM firing
    JOIN pg_catalog.pg_proc AS p
        ON p.proname OPERATOR(pg_catalog.=)
            ANY (ARRAY[firing.function, 'flagstaff_write_token_v1'::name])
        AND p.pronamespace OPERATOR(pg_catalog.=) firing.schema
), replaced AS (
    SELECT pg_catalog.string_agg(functions.name, ', ' ORDER BY functions.name) AS names
    FROM functions
    JOIN pg_catalog.pg_description AS d
        ON d.objoid OPERATOR(pg_catalog.=) functions.oid
        AND d.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::regclass
        AND d.objsubid OPERATOR(pg_catalog.=) 0
    WHERE d.description OPERATOR(pg_catalog.^@) 'flagstaff: SHA-256 of the body '
        AND pg_catalog.right(d.description, 64) OPERATOR(pg_catalog.<>) pg_catalog.encode(
            pg_catalog.sha256(pg_catalog.convert_to(functions.prosrc, 'UTF8')), 'hex'
        )
), silent AS (
    SELECT
        pg_catalog.count(*) AS number,
        pg_catalog.string_agg(id::regclass::text, ', ' ORDER BY id) AS names
    FROM family
    WHERE NOT EXISTS (
        SELECT FROM firing WHERE firing.id OPERATOR(pg_catalog.=) family.id
        -- INSERT, DELETE, UPDATE and TRUNCATE.
        HAVING pg_catalog.bit_or(firing.events) OPERATOR(pg_catalog.&) 60 OPERATOR(pg_catalog.=) 60
    )
)
SELECT
    pg_catalog.pg_is_in_recovery() AS standby,
    pg_catalog.pg_backend_pid() AS backend,
    EXISTS (
        SELECT FROM pg_catalog.pg_listening_channels() AS channel
        WHERE channel OPERATOR(pg_catalog.=) 'flagstaff_v1'
    ) AS listening,
    tokens AS token_table,
    ARRAY(SELECT id FROM family WHERE id IS NOT NULL ORDER BY id) AS tables,
    ARRAY(
        SELECT oid FROM pg_catalog.pg_class
        WHERE relname OPERATOR(pg_catalog.=) 'flagstaff_token'
            AND relkind OPERATOR(pg_catalog.=) 'r'
            AND oid OPERATOR(pg_catalog.<>) tokens
    ) AS other_token_tables,
    (
        SELECT pg_catalog.string_agg(id::regclass::text, ', ')
        FROM pg_catalog.unnest(pg_catalog.array_prepend(tokens, watched)) AS id
        WHERE pg_catalog.row_security_active(id)
    ) AS hidden,
    CASE
        WHEN pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8'
            THEN pg_catalog.getdatabaseencoding()::text
    END AS encoding,
    CASE
        WHEN tokens IS NULL THEN 'table'
        WHEN silent.number OPERATOR(pg_catalog.>) 0 THEN 'triggers'
        WHEN replaced.names IS NOT NULL THEN 'functions'
    END AS lacking,
    coalesce(silent.names, replaced.names) AS lacking_in,
    EXISTS (
        SELECT FROM pg_catalog.pg_subscription_rel
        WHERE srrelid OPERATOR(pg_catalog.=) ANY (pg_catalog.array_prepend(tokens, watched))
    ) AS subscribed,
    ARRAY(SELECT DISTINCT arguments FROM firing) AS key_arguments,
    {catalog} AS catalog,
    pg_catalog.concat_ws(
        '/',
        tokens,
        pg_catalog.array_to_string(watched, '/'),
        (SELECT pg_catalog.string_agg(id::text, ' ' ORDER BY id) FROM family),
        (
            SELECT pg_catalog.string_agg(c.relhassubclass::text, ' ' ORDER BY c.oid)
            FROM pg_catalog.pg_class AS c
            WHERE c.oid OPERATOR(pg_catalog.=) ANY (watched)
        ),
        (
            SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', oid, xmin), ',' ORDER BY oid)
            FROM pg_catalog.pg_trigger
            WHERE tgrelid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT id FROM family)) AND NOT tgisinternal
        ),
        (
            SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', oid, xmin), ',' ORDER BY oid)
            FROM functions
        )
    ) AS shape
FROM named, replaced, silent
