-- All flags. A rollout outside 0 to 100 is clamped, because it means the same as the bound. A
-- fraction is rounded up, because buckets are integers and compared with "<". NaN becomes NULL; a
-- row with NULL is ignored.
SELECT
    {flag_pk}::text AS pk,
    {flag_key}::text AS key,
    {flag_enabled} AS enabled,
    CASE
        WHEN {flag_rollout}::float8 OPERATOR(pg_catalog.<>) 'NaN'
            THEN pg_catalog.ceil(least(100, greatest(-1, {flag_rollout})))::int4
    END AS rollout_percent,
    coalesce({flag_client_side}, false) AS client_side
FROM {flag_table}
