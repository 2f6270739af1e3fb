-- All flags. A rollout outside 0 to 100 is clamped, because it means the same as the bound. A
-- fraction is rounded up, because buckets are integers and compared with "<". NaN becomes NULL; a
-- row with NULL is ignored.
-- rules is NULL for a flag without rules, and empty for rules over 256 KiB, which are not loaded.
-- bucket_by is NULL for a flag that is bucketed by user.
SELECT
    pk,
    key,
    enabled,
    rollout_percent,
    client_side,
    CASE
        WHEN rules OPERATOR(pg_catalog.=) '[]' THEN NULL
        WHEN pg_catalog.octet_length(rules) OPERATOR(pg_catalog.>) 262144 THEN ''
        ELSE rules
    END AS rules,
    CASE WHEN bucket_by OPERATOR(pg_catalog.<>) 'user' THEN bucket_by END AS bucket_by
FROM (
    SELECT
        {flag_pk}::text AS pk,
        {flag_key}::text AS key,
        {flag_enabled} AS enabled,
        CASE
            WHEN {flag_rollout}::float8 OPERATOR(pg_catalog.<>) 'NaN'
                THEN pg_catalog.ceil(least(100, greatest(-1, {flag_rollout})))::int4
        END AS rollout_percent,
        coalesce({flag_client_side}, false) AS client_side,
        {flag_rules}::text AS rules,
        {flag_bucket_by}::text AS bucket_by
    FROM {flag_table}
    {restriction}
    OFFSET 0  -- prevents three casts of all rules to text
) AS stored
