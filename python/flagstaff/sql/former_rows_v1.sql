-- The newest entry about a row that had each of these keys. Keys are compared together with ids, and
-- relations as texts, so that only the index of keys and ids serves (flag_list_v1).
SELECT entry.id, entry.key, entry.at, entry.action, entry.object_pk, entry.actor, entry."session_user"
FROM pg_catalog.unnest(%s::text[]) AS given (key)
CROSS JOIN LATERAL (
    SELECT c.* FROM {change_table} AS c
    WHERE ROW(c.key, c.id) OPERATOR(pg_catalog.>) ROW(given.key, 0::bigint)
        AND ROW(c.key, c.id) OPERATOR(pg_catalog.<=) ROW(given.key, 9223372036854775807)
        AND c.relation::text OPERATOR(pg_catalog.=) %s
        AND c.object_table OPERATOR(pg_catalog.=) (SELECT pg_catalog.to_regclass(%s::text))
    ORDER BY c.key DESC, c.id DESC LIMIT 1
) AS entry
