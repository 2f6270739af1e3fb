-- The entries that decide since when flags give all users the same result: a number of the newest
-- ones that may have changed the result of a flag. The others changed other columns, or a disabled
-- flag: flagstaff_change_state of history_indexes_v1 leaves them out by the same condition. Without
-- that number, the oldest entry of the flag is added, which bounds the period. Also the entry that
-- gave a flag its key, if that was since a time, by flagstaff_change_named.
SELECT
    flag.pk, entry.part, entry.id, entry.relation, entry.action, entry.at,
    entry.old OPERATOR(pg_catalog.->>) 'enabled', entry.new OPERATOR(pg_catalog.->>) 'enabled',
    entry.old OPERATOR(pg_catalog.->>) 'rollout_percent',
    entry.new OPERATOR(pg_catalog.->>) 'rollout_percent',
    entry.old OPERATOR(pg_catalog.->>) 'rules', entry.new OPERATOR(pg_catalog.->>) 'rules',
    CASE WHEN entry.relation OPERATOR(pg_catalog.=) 'm'
        THEN pg_catalog.jsonb_array_length(entry.old) ELSE 0 END,
    CASE WHEN entry.relation OPERATOR(pg_catalog.=) 'm'
        THEN pg_catalog.jsonb_array_length(entry.new) ELSE 0 END
FROM ROWS FROM (
    pg_catalog.unnest(%(pks)s::text[]), pg_catalog.unnest(%(with_state)s::bool[]),
    pg_catalog.unnest(%(with_users)s::bool[]), pg_catalog.unnest(%(with_key)s::bool[])
) AS flag (pk, with_state, with_users, with_key)
CROSS JOIN LATERAL (
    (
        SELECT c.*, 'oldest' AS part FROM {change_table} AS c
        WHERE %(newest)s::int8 IS NULL AND flag.with_state
            AND c.relation OPERATOR(pg_catalog.=) 'f' AND c.object_pk OPERATOR(pg_catalog.=) flag.pk
            AND c.object_table OPERATOR(pg_catalog.=) (SELECT pg_catalog.to_regclass(%(table)s))
        ORDER BY c.id LIMIT 1
    )
    UNION ALL
    (
        SELECT c.*, 'named' FROM {change_table} AS c
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
        SELECT decisive.*, 'decisive'
        FROM (
            (
                SELECT * FROM {change_table} AS c
                WHERE flag.with_state AND c.object_pk OPERATOR(pg_catalog.=) flag.pk
                    AND c.object_table OPERATOR(pg_catalog.=)
                        (SELECT pg_catalog.to_regclass(%(table)s))
                    AND c.relation OPERATOR(pg_catalog.=) 'f' AND (
                        action OPERATOR(pg_catalog.<>) 'update'
                        OR old OPERATOR(pg_catalog.->>) 'enabled' IS NULL
                        OR new OPERATOR(pg_catalog.->>) 'enabled' IS NULL
                        OR old OPERATOR(pg_catalog.->>) 'rollout_percent' IS NULL
                        OR new OPERATOR(pg_catalog.->>) 'rollout_percent' IS NULL
                        OR (
                            (
                                (old OPERATOR(pg_catalog.->>) 'enabled') OPERATOR(pg_catalog.=) 'true'
                                OR (new OPERATOR(pg_catalog.->>) 'enabled')
                                    OPERATOR(pg_catalog.=) 'true'
                            ) AND (
                                (old OPERATOR(pg_catalog.->>) 'enabled')
                                    OPERATOR(pg_catalog.<>) (new OPERATOR(pg_catalog.->>) 'enabled')
                                OR (old OPERATOR(pg_catalog.->>) 'rollout_percent')
                                    OPERATOR(pg_catalog.<>)
                                    (new OPERATOR(pg_catalog.->>) 'rollout_percent')
                                OR coalesce(old OPERATOR(pg_catalog.->>) 'rules', '')
                                    OPERATOR(pg_catalog.<>)
                                    coalesce(new OPERATOR(pg_catalog.->>) 'rules', '')
                            )
                        )
                    )
                ORDER BY c.id DESC LIMIT %(newest)s
            )
            UNION ALL
            (
                SELECT * FROM {change_table} AS c
                WHERE c.relation OPERATOR(pg_catalog.=) 'm'
                    AND c.object_pk OPERATOR(pg_catalog.=) flag.pk
                    AND c.object_table OPERATOR(pg_catalog.=)
                        (SELECT pg_catalog.to_regclass(%(table)s))
                    AND flag.with_users
                ORDER BY c.id DESC LIMIT %(newest)s
            )
        ) AS decisive
        ORDER BY id DESC LIMIT %(newest)s
    )
) AS entry
