-- How the tables arrive by logical replication. $1 is the token table, $2 are the tables that a load
-- reads, $3 is the table of the echo, each quoted as in a query.
-- Tokens prove what a worker has only if they arrive after the rows that they are about: in the same
-- subscription, whose first copy of each table is done.
-- subscription is the one with the tokens, NULL without one. apart names the tables that are not in it,
-- copying those whose first copy is not done; both are NULL without such a table.
-- has_echo: whether the echo arrives by this subscription, too.
-- notifies: whether a trigger notifies the workers of each token that arrives.
WITH named AS (
    SELECT
        pg_catalog.to_regclass($1)::oid AS tokens,
        ARRAY(
            SELECT pg_catalog.to_regclass(name)::oid FROM pg_catalog.unnest($2::text[]) AS name
        ) AS watched,
        pg_catalog.to_regclass($3)::oid AS echo
), needed AS (
    SELECT DISTINCT id
    FROM named, pg_catalog.unnest(pg_catalog.array_append(watched, tokens)) AS id
    WHERE id IS NOT NULL
), notifying AS (
    SELECT EXISTS (
        SELECT
        FROM pg_catalog.pg_trigger AS t
        JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid, named
        WHERE t.tgrelid OPERATOR(pg_catalog.=) named.tokens
            AND p.proname OPERATOR(pg_catalog.=) 'flagstaff_arrived_v1'
            -- The bits of ROW and INSERT.
            AND t.tgtype OPERATOR(pg_catalog.&) 5 OPERATOR(pg_catalog.=) 5
            AND t.tgenabled OPERATOR(pg_catalog.=) ANY (ARRAY['R', 'A']::"char"[])
    ) AS notifies
), subscriptions AS (
    SELECT
        s.subname::text AS subscription,
        s.subenabled AS enabled,
        (
            SELECT pg_catalog.string_agg(needed.id::regclass::text, ', ' ORDER BY needed.id)
            FROM needed
            WHERE NOT EXISTS (
                SELECT FROM pg_catalog.pg_subscription_rel AS r
                WHERE r.srsubid OPERATOR(pg_catalog.=) s.oid
                    AND r.srrelid OPERATOR(pg_catalog.=) needed.id
            )
        ) AS apart,
        (
            SELECT pg_catalog.string_agg(needed.id::regclass::text, ', ' ORDER BY needed.id)
            FROM needed
            JOIN pg_catalog.pg_subscription_rel AS r
                ON r.srsubid OPERATOR(pg_catalog.=) s.oid
                AND r.srrelid OPERATOR(pg_catalog.=) needed.id
            WHERE r.srsubstate OPERATOR(pg_catalog.<>) 'r'
        ) AS copying,
        EXISTS (
            SELECT FROM pg_catalog.pg_subscription_rel AS r, named
            WHERE r.srsubid OPERATOR(pg_catalog.=) s.oid
                AND r.srrelid OPERATOR(pg_catalog.=) named.echo
                AND r.srsubstate OPERATOR(pg_catalog.=) 'r'
        ) AS has_echo
    FROM pg_catalog.pg_subscription AS s
    WHERE EXISTS (
        SELECT FROM pg_catalog.pg_subscription_rel AS r, named
        WHERE r.srsubid OPERATOR(pg_catalog.=) s.oid
            AND r.srrelid OPERATOR(pg_catalog.=) named.tokens
    )
)
SELECT
    subscription, enabled, apart, copying, coalesce(has_echo, false) AS has_echo, notifies
FROM notifying LEFT JOIN subscriptions ON true
ORDER BY apart IS NULL DESC, enabled DESC, copying IS NULL DESC
LIMIT 1
