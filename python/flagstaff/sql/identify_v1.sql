-- What kind of server this is, and whether every watched table leaves tokens.
-- $1 is the token table, $2 to $4 the watched tables, each quoted as in a query.
-- The casts choose PostgreSQL's own operators, whatever others there are.
-- backend is not the process that the client was told of where a pooler is in between.
-- lacking says why there are no tokens to go by, NULL where there are. What replication applies
-- fires no trigger of a statement: the tokens come with it, or there are none.
-- shape changes with every ALTER of a trigger, and when a table is replaced: what was written in
-- between may have left no token.
SELECT
    pg_catalog.pg_is_in_recovery() AS standby,
    pg_catalog.pg_backend_pid() AS backend,
    EXISTS (
        SELECT FROM pg_catalog.pg_listening_channels() AS channel WHERE channel = 'flagstaff_v1'
    ) AS listening,
    CASE
        WHEN tokens IS NULL THEN 'table'
        WHEN 3 > (
            SELECT pg_catalog.count(DISTINCT t.tgrelid)
            FROM pg_catalog.pg_trigger AS t
            JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
            WHERE t.tgrelid = ANY (watched)
                AND p.proname::text LIKE 'flagstaff\_token\_v%'
                AND t.tgenabled IN ('A', 'O')
        ) THEN 'triggers'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_subscription_rel WHERE srrelid = ANY (watched))
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_subscription_rel WHERE srrelid = tokens)
            THEN 'replication'
    END AS lacking,
    pg_catalog.concat_ws(
        '/',
        tokens,
        pg_catalog.array_to_string(watched, '/'),
        (
            SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', oid, xmin), ',' ORDER BY oid)
            FROM pg_catalog.pg_trigger
            WHERE tgrelid = ANY (watched) AND NOT tgisinternal
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
