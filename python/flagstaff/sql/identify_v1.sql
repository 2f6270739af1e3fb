-- Describes the server, and whether every change of a watched table writes a token. The rules for
-- triggers are those of flagstaff._tables.triggers.
-- $1 is the token table, $2 to $4 the watched tables, each quoted as in a query.
-- backend differs from the process id of the client's start-up if a pooler is in between.
-- token_table is NULL if it does not exist. other_token_tables are those of other projects, which
-- have a schema each in this database, and send their notifications over the same channel.
-- hidden names the tables of which row level security can hide rows from this role, else NULL: the
-- poll would see no tokens, and a load no rows.
-- lacking is NULL if tokens can be relied on, else the reason. Logical replication does not fire
-- statement triggers, so the token table must be replicated too.
-- shape changes with every ALTER of a trigger and when a table is replaced: changes in between may
-- not have written a token.
SELECT
    pg_catalog.pg_is_in_recovery() AS standby,
    pg_catalog.pg_backend_pid() AS backend,
    EXISTS (
        SELECT FROM pg_catalog.pg_listening_channels() AS channel
        WHERE channel OPERATOR(pg_catalog.=) 'flagstaff_v1'
    ) AS listening,
    tokens AS token_table,
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
        WHEN tokens IS NULL THEN 'table'
        WHEN 3 OPERATOR(pg_catalog.>) (
            SELECT pg_catalog.count(DISTINCT t.tgrelid)
            FROM pg_catalog.pg_trigger AS t
            JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
            WHERE t.tgrelid OPERATOR(pg_catalog.=) ANY (watched)
                AND p.proname::text OPERATOR(pg_catalog.~~) 'flagstaff\_token\_v%'
                AND t.tgenabled OPERATOR(pg_catalog.=) ANY ('{A,O}'::"char"[])
        ) THEN 'triggers'
        WHEN EXISTS (
                SELECT FROM pg_catalog.pg_subscription_rel
                WHERE srrelid OPERATOR(pg_catalog.=) ANY (watched)
            ) AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_subscription_rel
                WHERE srrelid OPERATOR(pg_catalog.=) tokens
            )
            THEN 'replication'
    END AS lacking,
    pg_catalog.concat_ws(
        '/',
        tokens,
        pg_catalog.array_to_string(watched, '/'),
        (
            SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', oid, xmin), ',' ORDER BY oid)
            FROM pg_catalog.pg_trigger
            WHERE tgrelid OPERATOR(pg_catalog.=) ANY (watched) AND NOT tgisinternal
        )
    ) AS shape
FROM (
    SELECT
        pg_catalog.to_regclass($1)::oid AS tokens,
        ARRAY[
            pg_catalog.to_regclass($2)::oid,
            pg_catalog.to_regclass($3)::oid,
            pg_catalog.to_regclass($4)::oid
        ] AS watched
) AS named
