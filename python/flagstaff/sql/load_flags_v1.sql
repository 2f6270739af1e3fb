-- Every flag. A rollout outside 0 to 100 means what the nearer bound means, so it is cut to fit;
-- a fraction is rounded up, because buckets are whole and compared with "<". NULL stays NULL, and
-- what is not a number becomes it: such a row is set aside alone.
SELECT
    {flag_pk}::text AS pk,
    {flag_key}::text AS key,
    {flag_enabled} AS enabled,
    CASE
        WHEN {flag_rollout}::float8 <> 'NaN'
            THEN pg_catalog.ceil(least(100, greatest(-1, {flag_rollout})))::int4
    END AS rollout_percent,
    coalesce({flag_client_side}, false) AS client_side
FROM {flag_table}
