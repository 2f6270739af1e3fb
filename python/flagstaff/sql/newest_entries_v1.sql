-- The newest entry of each row of a kind, of a flag also of its allowed users: its id, which is the
-- version of the row, and its time in seconds, which are read faster than a timestamp.
-- Entries are found by a range of rows, not by `object_pk =` and the order of the ids: while the
-- statistics say that nearly all entries are of one row, or that there are none, the planner expects
-- to find those of any row among the newest ids, and would read the whole history for each row.
-- The relation is no part of the range: with a histogram of it, PostgreSQL fails to plan a range of
-- the type "char".
SELECT given.pk, newest.id, extract(epoch FROM newest.at)::float8
FROM pg_catalog.unnest(%(pks)s::text[]) AS given (pk)
CROSS JOIN LATERAL (
    SELECT entry.id, entry.at
    FROM pg_catalog.unnest(%(relations)s::"char"[]) AS r (relation)
    CROSS JOIN LATERAL (
        SELECT c.id, c.at
        FROM {change_table} AS c
        WHERE c.relation OPERATOR(pg_catalog.=) r.relation
            AND ROW(c.object_pk, c.id) OPERATOR(pg_catalog.>) ROW(given.pk, 0::bigint)
            AND ROW(c.object_pk, c.id)
                OPERATOR(pg_catalog.<=) ROW(given.pk, 9223372036854775807)
            AND c.object_table OPERATOR(pg_catalog.=)
                (SELECT pg_catalog.to_regclass(%(table)s::text))
        ORDER BY c.relation DESC, c.object_pk DESC, c.id DESC LIMIT 1
    ) AS entry
    ORDER BY entry.id DESC LIMIT 1
) AS newest
