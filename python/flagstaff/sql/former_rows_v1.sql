-- The newest entry about a row that had each of these keys.
SELECT given.key, entry.id, entry.at, entry.action, entry.object_pk, entry.actor,
    entry."session_user"
FROM pg_catalog.unnest(%s::text[]) AS given (key)
CROSS JOIN LATERAL (
    SELECT c.* FROM {change_table} AS c
    WHERE c.key OPERATOR(pg_catalog.=) given.key
        AND c.relation OPERATOR(pg_catalog.=) %s::"char"
        AND c.object_table OPERATOR(pg_catalog.=) (SELECT pg_catalog.to_regclass(%s::text))
    ORDER BY c.id DESC LIMIT 1
) AS entry
