-- Of events of allowed users, those after which each user is on the list again, or not, as before.
SELECT event.version
FROM pg_catalog.jsonb_to_recordset(%(events)s::jsonb) AS event (version bigint, pk text, lists bigint[])
JOIN {flag_table} AS flag ON flag.{flag_pk}::text OPERATOR(pg_catalog.=) event.pk
WHERE NOT EXISTS (
    SELECT
    FROM (
        -- The oldest entry that names a user says how it was before.
        SELECT DISTINCT ON (named.pk) named.pk, named.was_allowed
        FROM {change_table} AS list
        CROSS JOIN LATERAL (
            SELECT removed.pk, true
            FROM pg_catalog.jsonb_array_elements_text(list.old) AS removed (pk)
            UNION ALL
            SELECT added.pk, false
            FROM pg_catalog.jsonb_array_elements_text(list.new) AS added (pk)
        ) AS named (pk, was_allowed)
        WHERE list.id OPERATOR(pg_catalog.=) ANY (event.lists)
        ORDER BY named.pk, list.id
    ) AS before
    LEFT JOIN (
        SELECT a.{allowed_users_user}::text AS pk
        FROM {allowed_users_table} AS a
        WHERE a.{allowed_users_flag} OPERATOR(pg_catalog.=) flag.{flag_pk}
    ) AS allowed ON allowed.pk OPERATOR(pg_catalog.=) before.pk
    WHERE (allowed.pk IS NOT NULL) OPERATOR(pg_catalog.<>) before.was_allowed
)
