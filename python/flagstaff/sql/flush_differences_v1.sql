-- Adds what a worker has compared with another library since its last flush, if it is accepted: see
-- accept_flush_v1. The first example of a day stays. All workers write the rows in the same order,
-- so that they cannot deadlock.
WITH {accepted}
INSERT INTO {difference_table} AS d (
    day, kind, name, cause, waffle, flagstaff, count, user_pk, path
)
SELECT
    (pg_catalog.now() AT TIME ZONE 'UTC')::pg_catalog.date, n.kind, n.name, n.cause, n.theirs,
    n.ours, n.count, n.user_pk, n.path
FROM accepted CROSS JOIN ROWS FROM (
    pg_catalog.unnest($9::text[]), pg_catalog.unnest($10::text[]),
    pg_catalog.unnest($11::text[]), pg_catalog.unnest($12::boolean[]),
    pg_catalog.unnest($13::boolean[]), pg_catalog.unnest($14::bigint[]),
    pg_catalog.unnest($15::text[]), pg_catalog.unnest($16::text[])
) AS n (kind, name, cause, theirs, ours, count, user_pk, path)
ORDER BY n.kind, n.name, n.cause, n.theirs, n.ours
ON CONFLICT (day, kind, name, cause, waffle, flagstaff) DO UPDATE SET
    count = d.count OPERATOR(pg_catalog.+) EXCLUDED.count
