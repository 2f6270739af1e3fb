-- For each session of a worker and the token that it has applied: when it connected, for how many
-- seconds it has been idle, and the age in seconds of the oldest token that it has not applied. The
-- first two are NULL if the role may not see the session of another role, and for a worker behind a
-- pooler, whose session is NULL. The age is NULL if it has applied all tokens. The last column is
-- whether there are tokens at all.
SELECT
    activity.backend_start,
    EXTRACT(epoch FROM
        pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) activity.state_change
    )::double precision,
    EXTRACT(epoch FROM
        pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) lacking.at
    )::double precision,
    EXISTS (SELECT FROM {token_table})
FROM ROWS FROM (
    pg_catalog.unnest(%s::integer[]), pg_catalog.unnest(%s::bigint[])
) WITH ORDINALITY AS given (session, token, position)
LEFT JOIN pg_catalog.pg_stat_activity AS activity
    ON activity.pid OPERATOR(pg_catalog.=) given.session
LEFT JOIN LATERAL (
    SELECT t.at FROM {token_table} AS t
    WHERE t.id OPERATOR(pg_catalog.>) given.token
    ORDER BY t.id LIMIT 1
) AS lacking ON true
ORDER BY given.position
