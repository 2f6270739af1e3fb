-- All values, as the text that the model field decodes. The largest ones beyond a total of 64 MiB are
-- not loaded: only their keys are.
-- rules is NULL for a value without rules, bucket_by NULL for rules that are bucketed by user.
SELECT
    pk,
    key,
    coalesce(total OPERATOR(pg_catalog.>) 67108864, false) AS too_large,
    CASE WHEN total OPERATOR(pg_catalog.<=) 67108864 THEN value END AS value,
    is_secret,
    client_side,
    CASE WHEN rules OPERATOR(pg_catalog.<>) '[]' THEN rules END AS rules,
    CASE WHEN bucket_by OPERATOR(pg_catalog.<>) 'user' THEN bucket_by END AS bucket_by
FROM (
    SELECT
        stored.*,
        pg_catalog.sum(pg_catalog.octet_length(value))
            OVER (ORDER BY pg_catalog.octet_length(value), pk) AS total
    FROM (
        SELECT
            {value_pk}::text AS pk,
            {value_key}::text AS key,
            {value_value}::text AS value,
            coalesce({value_secret}, false) AS is_secret,
            coalesce({value_client_side}, false) AS client_side,
            {value_rules}::text AS rules,
            {value_bucket_by}::text AS bucket_by
        FROM {value_table}
        {restriction}
        OFFSET 0  -- prevents three casts of every value to text
    ) AS stored
) AS measured
