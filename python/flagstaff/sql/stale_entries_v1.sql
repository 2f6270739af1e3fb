-- The entries of flags that say since when a signal of being stale holds: each the newest one that
-- may have changed the result ("row"), the allowed users ("users"), the key, if that was since a
-- time ("key"), or the review date ("review"). Changes of other columns, and of a disabled flag,
-- change no result: flagstaff_change_state of history_indexes_v1 leaves them out by the same
-- condition, and flagstaff_change_named all but those of the key.
SELECT
    flag.pk, entry.part, entry.id, entry.at, entry.action OPERATOR(pg_catalog.=) 'insert',
    entry.old OPERATOR(pg_catalog.->>) 'enabled',
    entry.old OPERATOR(pg_catalog.->>) 'rollout_percent',
    entry.old OPERATOR(pg_catalog.->>) 'rules',
    entry.new OPERATOR(pg_catalog.->>) 'enabled',
    entry.new OPERATOR(pg_catalog.->>) 'rollout_percent',
    entry.new OPERATOR(pg_catalog.->>) 'rules',
    entry.old OPERATOR(pg_catalog.->>) 'review_on', entry.new OPERATOR(pg_catalog.->>) 'review_on'
FROM ROWS FROM (
    pg_catalog.unnest(%(pks)s::text[]), pg_catalog.unnest(%(with_row)s::bool[]),
    pg_catalog.unnest(%(with_users)s::bool[]), pg_catalog.unnest(%(with_key)s::bool[]),
    pg_catalog.unnest(%(with_review)s::bool[])
) AS flag (pk, with_row, with_users, with_key, with_review)
CROSS JOIN LATERAL (
    (
        SELECT c.*, 'row' AS part FROM {change_table} AS c
        WHERE flag.with_row AND c.object_pk OPERATOR(pg_catalog.=) flag.pk
            AND c.object_table OPERATOR(pg_catalog.=) (SELECT pg_catalog.to_regclass(%(table)s))
            AND c.relation OPERATOR(pg_catalog.=) 'f' AND (
                action OPERATOR(pg_catalog.<>) 'update'
                OR old OPERATOR(pg_catalog.->>) 'enabled' IS NULL
                OR new OPERATOR(pg_catalog.->>) 'enabled' IS NULL
                OR old OPERATOR(pg_catalog.->>) 'rollout_percent' IS NULL
                OR new OPERATOR(pg_catalog.->>) 'rollout_percent' IS NULL
                OR (
                    (
                        (old OPERATOR(pg_catalog.->>) 'enabled') OPERATOR(pg_catalog.=) 'true'
                        OR (new OPERATOR(pg_catalog.->>) 'enabled') OPERATOR(pg_catalog.=) 'true'
                    ) AND (
                        (old OPERATOR(pg_catalog.->>) 'enabled')
                            OPERATOR(pg_catalog.<>) (new OPERATOR(pg_catalog.->>) 'enabled')
                        OR (old OPERATOR(pg_catalog.->>) 'rollout_percent')
                            OPERATOR(pg_catalog.<>)
                            (new OPERATOR(pg_catalog.->>) 'rollout_percent')
                        OR coalesce(old OPERATOR(pg_catalog.->>) 'rules', '')
                            OPERATOR(pg_catalog.<>) coalesce(new OPERATOR(pg_catalog.->>) 'rules', '')
                    )
                )
            )
        ORDER BY c.id DESC LIMIT 1
    )
    UNION ALL
    (
        SELECT c.*, 'users' FROM {change_table} AS c
        WHERE flag.with_users AND c.object_pk OPERATOR(pg_catalog.=) flag.pk
            AND c.object_table OPERATOR(pg_catalog.=) (SELECT pg_catalog.to_regclass(%(table)s))
            AND c.relation OPERATOR(pg_catalog.=) 'm'
        ORDER BY c.id DESC LIMIT 1
    )
    UNION ALL
    (
        SELECT c.*, 'key' FROM {change_table} AS c
        WHERE flag.with_key AND c.object_pk OPERATOR(pg_catalog.=) flag.pk
            AND c.object_table OPERATOR(pg_catalog.=) (SELECT pg_catalog.to_regclass(%(table)s))
            AND c.relation OPERATOR(pg_catalog.=) 'f' AND (
                old OPERATOR(pg_catalog.->>) 'key' IS NULL
                OR (old OPERATOR(pg_catalog.->>) 'key') OPERATOR(pg_catalog.<>) key
            )
            AND c.at OPERATOR(pg_catalog.>=) %(since)s::timestamptz
        ORDER BY c.id DESC LIMIT 1
    )
    UNION ALL
    (
        SELECT c.*, 'review' FROM {change_table} AS c
        WHERE flag.with_review AND c.object_pk OPERATOR(pg_catalog.=) flag.pk
            AND c.object_table OPERATOR(pg_catalog.=) (SELECT pg_catalog.to_regclass(%(table)s))
            AND c.relation OPERATOR(pg_catalog.=) 'f'
            AND coalesce(c.old OPERATOR(pg_catalog.->>) 'review_on', '') OPERATOR(pg_catalog.<>)
                coalesce(c.new OPERATOR(pg_catalog.->>) 'review_on', '')
        ORDER BY c.id DESC LIMIT 1
    )
) AS entry
