-- The workers in the register, on each row the number of connected ones that do not report, whether
-- the barrier exists, and the number of receivers: the standbys, subscribers and backups of the server,
-- which look alike to a role without rights. Without a worker, one row that is NULL but for these.
-- One statement: a worker that registers meanwhile is counted as one that does not report. The token
-- of a row counts only if it is in the table with its random number: after a restore or a failover,
-- the same id can be another token.
-- The engine's sessions have a name from the start, and then that of their project's token table.
-- During a deploy, the table may lack the columns of regions until "migrate".
-- A row shows tokens up to six seconds late, behind replication up to 140, so younger ones do not make
-- a worker late. One time for all rows: workers that are equally behind are in the order of their hosts.
-- Every role may see the names, process ids and roles of all sessions.
-- Behind a pooler, no session belongs to a worker, and none gets its project's name. One without this
-- name is left out if a worker with the same role reports from behind the pooler.
WITH sessions AS MATERIALIZED (
    SELECT
        pid, usesysid, application_name OPERATOR(pg_catalog.=) 'flagstaff' AS may_be_pooled
    FROM pg_catalog.pg_stat_activity
    WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
        AND (
            application_name OPERATOR(pg_catalog.=) 'flagstaff'
            OR application_name OPERATOR(pg_catalog.^@) pg_catalog.concat(
                'flagstaff ', pg_catalog.to_regclass(%(token_table)s)::oid, ' '
            )
        )
), workers AS (
    SELECT
        w.*,
        coalesce(
            (pg_catalog.to_jsonb(w) OPERATOR(pg_catalog.->>) 'is_replicated')::boolean, false
        ) AS from_region,
        coalesce(pg_catalog.to_jsonb(w) OPERATOR(pg_catalog.->>) 'region', '') AS of_region,
        coalesce(pg_catalog.to_jsonb(w) OPERATOR(pg_catalog.->>) 'system', '') AS of_system,
        coalesce(
            (pg_catalog.to_jsonb(w) OPERATOR(pg_catalog.->>) 'timeline')::bigint, 0
        ) AS of_timeline,
        EXISTS (
            SELECT FROM {token_table} AS t
            WHERE t.id OPERATOR(pg_catalog.=) w.token AND t.nonce OPERATOR(pg_catalog.=) w.nonce
        ) AS has_token,
        expected_by OPERATOR(pg_catalog.>=) pg_catalog.clock_timestamp()
            OR coalesce(
                session OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT pid FROM sessions)), false
            ) AS is_expected
    FROM {worker_table} AS w
), totals AS (
    SELECT
        (
            SELECT pg_catalog.count(*) FROM sessions
            WHERE NOT EXISTS (
                SELECT FROM workers
                WHERE session OPERATOR(pg_catalog.=) sessions.pid
                    OR (
                        may_be_pooled AND session IS NULL AND is_expected AND NOT from_region
                        AND role OPERATOR(pg_catalog.=) sessions.usesysid
                    )
            )
        ) AS unreported,
        (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication) AS receivers,
        EXISTS (
            SELECT FROM {token_table}
            WHERE id OPERATOR(pg_catalog.=) %(barrier)s::bigint AND nonce OPERATOR(pg_catalog.=) %(nonce)s::bigint
        ) AS has_barrier
)
SELECT
    totals.unreported, totals.has_barrier, totals.receivers,
    w.worker, w.host, w.pid, w.mode, w.rule_format, w.token,
    CASE WHEN w.session OPERATOR(pg_catalog.<>) 0 THEN w.session END AS session, w.started_at,
    extract(
        EPOCH FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) w.seen_at
    )::double precision AS seen,
    w.is_expected,
    w.mode OPERATOR(pg_catalog.<>) 'reload'
        AND w.token OPERATOR(pg_catalog.>=) %(barrier)s::bigint AND w.has_token AS has_applied,
    extract(EPOCH FROM pg_catalog.statement_timestamp() OPERATOR(pg_catalog.-) (
        SELECT t.at FROM {token_table} AS t
        WHERE t.id OPERATOR(pg_catalog.>) w.token
            AND t.at OPERATOR(pg_catalog.<) (
                pg_catalog.statement_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(
                    secs => CASE WHEN w.from_region THEN 140 ELSE 6 END
                )
            )
        ORDER BY t.id LIMIT 1
    ))::double precision AS behind,
    w.of_region, w.from_region, w.of_system, w.of_timeline, w.has_token
FROM totals LEFT JOIN workers AS w ON true
ORDER BY behind DESC NULLS LAST, w.host, w.pid, w.worker
