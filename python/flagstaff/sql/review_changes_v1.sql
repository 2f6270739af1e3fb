-- The newest entry of each flag that changed its review date, with the date before and after.
SELECT flag.pk, entry.at, entry.before, entry.after, entry.is_creation
FROM pg_catalog.unnest(%(pks)s::text[]) AS flag (pk)
CROSS JOIN LATERAL (
    SELECT
        c.at,
        c.old OPERATOR(pg_catalog.->>) 'review_on' AS before,
        c.new OPERATOR(pg_catalog.->>) 'review_on' AS after,
        c.action OPERATOR(pg_catalog.=) 'insert' AS is_creation
    FROM {change_table} AS c
    WHERE c.relation OPERATOR(pg_catalog.=) 'f' AND c.object_pk OPERATOR(pg_catalog.=) flag.pk
        AND c.object_table OPERATOR(pg_catalog.=) (SELECT pg_catalog.to_regclass(%(table)s))
        AND coalesce(c.old OPERATOR(pg_catalog.->>) 'review_on', '') OPERATOR(pg_catalog.<>)
            coalesce(c.new OPERATOR(pg_catalog.->>) 'review_on', '')
    ORDER BY c.id DESC LIMIT 1
) AS entry
