-- The entries of one flag since a time, newest first: the newest ones with all columns, and those that
-- the course of the rollout can be drawn from. These are the last entry before that time, the first
-- one after it, and the last one of each slot of time, so the number of rows has a limit. Each row
-- has the number of events since that time, and the rollout before and after the entry as texts.
WITH relations AS (
    SELECT r.relation, coalesce((
        SELECT c.id FROM {change_table} AS c
        WHERE c.relation OPERATOR(pg_catalog.=) r.relation
            AND c.object_pk OPERATOR(pg_catalog.=) %(pk)s
            AND c.object_table OPERATOR(pg_catalog.=)
                (SELECT pg_catalog.to_regclass(%(table)s::text))
            AND c.at OPERATOR(pg_catalog.<) %(since)s::timestamptz
        ORDER BY c.id DESC LIMIT 1
    ), 0) AS before
    FROM pg_catalog.unnest('{f,m}'::"char"[]) AS r (relation)
), entries AS MATERIALIZED (
    -- Without the rows of the flag, which can be large.
    SELECT c.id, c.relation, least(c.at, %(until)s::timestamptz) AS at,
        (c.transaction_id, c.actor, c.source, c.reason, c."session_user", c.role,
            c.application_name) AS event
    FROM relations AS r
    JOIN {change_table} AS c
        ON c.relation OPERATOR(pg_catalog.=) r.relation
        AND c.object_pk OPERATOR(pg_catalog.=) %(pk)s
        AND c.id OPERATOR(pg_catalog.>) r.before
    WHERE c.object_table OPERATOR(pg_catalog.=) (SELECT pg_catalog.to_regclass(%(table)s::text))
), wanted AS (
    (SELECT id, true AS is_new FROM entries ORDER BY id DESC LIMIT %(limit)s)
    UNION ALL
    SELECT before, false FROM relations WHERE relation OPERATOR(pg_catalog.=) 'f'
    UNION ALL
    SELECT pg_catalog.min(id), false FROM entries WHERE relation OPERATOR(pg_catalog.=) 'f'
    UNION ALL
    SELECT pg_catalog.max(id), false FROM entries
    WHERE relation OPERATOR(pg_catalog.=) 'f'
    GROUP BY pg_catalog.date_bin(%(slot)s::interval, at, %(since)s::timestamptz)
), chosen AS (
    SELECT id, pg_catalog.bool_or(is_new) AS is_new FROM wanted GROUP BY id
)
SELECT
    (SELECT pg_catalog.count(DISTINCT event) FROM entries),
    chosen.is_new,
    flag.old OPERATOR(pg_catalog.->>) 'enabled', flag.old OPERATOR(pg_catalog.->>) 'rollout_percent',
    flag.new OPERATOR(pg_catalog.->>) 'enabled', flag.new OPERATOR(pg_catalog.->>) 'rollout_percent',
    -- Only for integer primary keys: another comparison would read all users.
    CASE WHEN chosen.is_new AND c.actor OPERATOR(pg_catalog.~) '^[1-9][0-9]{0,17}$' THEN (
        SELECT u.{user_name}::text FROM {user_table} AS u
        WHERE u.{user_pk} OPERATOR(pg_catalog.=) c.actor::int8
    ) END,
    c.id, c.at, c.transaction_id, c.relation, c.key, c.action,
    CASE WHEN flag.is_list THEN '[]' WHEN chosen.is_new THEN c.old END,
    CASE WHEN flag.is_list THEN '[]' WHEN chosen.is_new THEN c.new END,
    CASE WHEN flag.is_list THEN pg_catalog.jsonb_array_length(c.old) ELSE 0 END,
    CASE WHEN flag.is_list THEN pg_catalog.jsonb_array_length(c.new) ELSE 0 END,
    c.actor, c.source, c.reason, c."session_user", c.role, c.application_name
FROM chosen
JOIN {change_table} AS c ON c.id OPERATOR(pg_catalog.=) chosen.id
CROSS JOIN LATERAL (
    SELECT c.relation OPERATOR(pg_catalog.=) 'm' AS is_list,
        CASE WHEN c.relation OPERATOR(pg_catalog.=) 'f' THEN c.old END AS old,
        CASE WHEN c.relation OPERATOR(pg_catalog.=) 'f' THEN c.new END AS new
) AS flag
ORDER BY c.id DESC
