-- What the list shows of each flag besides its row and its usage: the number of its allowed users, and
-- the entries of its newest transaction, newest first. Looks at the newest 20 entries of its row and of
-- its allowed users, because a transaction can have any number of them.
-- Entries are found by a range of rows, not by `object_pk =` and the order of the ids: while the
-- statistics say that nearly all entries are of one flag, or that there are none, the planner expects
-- to find those of any flag among the newest ids, and would read the whole history for each flag.
-- The relation is no part of the range: with a histogram of it, PostgreSQL fails to plan a range of
-- the type "char".
SELECT
    flag.pk,
    (
        SELECT pg_catalog.count(*) FROM {allowed_users_table} AS l
        WHERE l.{allowed_users_flag} OPERATOR(pg_catalog.=) flag.target::{allowed_users_flag_type}
    ),
    -- Only for integer primary keys: another comparison would read all users.
    CASE WHEN entry.actor OPERATOR(pg_catalog.~) '^[1-9][0-9]{0,17}$' THEN (
        SELECT u.{user_name}::text FROM {user_table} AS u
        WHERE u.{user_pk} OPERATOR(pg_catalog.=) entry.actor::int8
    ) END,
    entry.id, entry.at, entry.transaction_id, entry.relation, entry.key, entry.action,
    entry.old, entry.new, entry.removed, entry.added,
    entry.actor, entry.source, entry.reason, entry."session_user", entry.role,
    entry.application_name
FROM ROWS FROM (
    pg_catalog.unnest(%s::text[]), pg_catalog.unnest(%s::text[])
) AS flag (pk, target)
LEFT JOIN LATERAL (
    SELECT found.*, pg_catalog.first_value(transaction_id) OVER (ORDER BY id DESC) AS newest
    FROM (
        (
            SELECT c.id, c.at, c.transaction_id, c.relation, c.key, c.action, c.old, c.new,
                c.actor, c.source, c.reason, c."session_user", c.role, c.application_name,
                0 AS removed, 0 AS added
            FROM {change_table} AS c
            WHERE c.relation OPERATOR(pg_catalog.=) 'f'::"char"
                AND ROW(c.object_pk, c.id) OPERATOR(pg_catalog.>) ROW(flag.pk, 0::bigint)
                AND ROW(c.object_pk, c.id)
                    OPERATOR(pg_catalog.<=) ROW(flag.pk, 9223372036854775807)
                AND c.object_table OPERATOR(pg_catalog.=)
                    (SELECT pg_catalog.to_regclass(%s::text))
            ORDER BY c.relation DESC, c.object_pk DESC, c.id DESC LIMIT 20
        )
        UNION ALL
        (
            SELECT c.id, c.at, c.transaction_id, c.relation, c.key, c.action, '[]', '[]',
                c.actor, c.source, c.reason, c."session_user", c.role, c.application_name,
                pg_catalog.jsonb_array_length(c.old), pg_catalog.jsonb_array_length(c.new)
            FROM {change_table} AS c
            WHERE c.relation OPERATOR(pg_catalog.=) 'm'::"char"
                AND ROW(c.object_pk, c.id) OPERATOR(pg_catalog.>) ROW(flag.pk, 0::bigint)
                AND ROW(c.object_pk, c.id)
                    OPERATOR(pg_catalog.<=) ROW(flag.pk, 9223372036854775807)
                AND c.object_table OPERATOR(pg_catalog.=)
                    (SELECT pg_catalog.to_regclass(%s::text))
            ORDER BY c.relation DESC, c.object_pk DESC, c.id DESC LIMIT 20
        )
    ) AS found
) AS entry ON entry.transaction_id OPERATOR(pg_catalog.=) entry.newest
ORDER BY flag.pk, entry.id DESC
