-- All values, as the text that the model field decodes. A value over 1 MiB is not loaded, and
-- neither are the largest ones beyond a total of 64 MiB: only their keys are.
-- rules is NULL for a value without rules, and empty for rules over 256 KiB, which are not loaded.
-- bucket_by is NULL for rules that are bucketed by user.
SELECT
    pk,
    key,
    NOT fits AS too_large,
    CASE WHEN fits THEN value END AS value,
    is_secret,
    client_side,
    CASE
        WHEN rules OPERATOR(pg_catalog.=) '[]' THEN NULL
        WHEN pg_catalog.octet_length(rules) OPERATOR(pg_catalog.>) 262144 THEN ''
        ELSE rules
    END AS rules,
    CASE WHEN bucket_by OPERATOR(pg_catalog.<>) 'user' THEN bucket_by END AS bucket_by
FROM (
    SELECT
        pk,
        key,
        value,
        is_secret,
        client_side,
        rules,
        bucket_by,
        coalesce(
            size OPERATOR(pg_catalog.<=) 1048576 AND total OPERATOR(pg_catalog.<=) 67108864, true
        ) AS fits
    FROM (
        SELECT
            pk,
            key,
            value,
            is_secret,
            client_side,
            rules,
            bucket_by,
            pg_catalog.octet_length(value) AS size,
            pg_catalog.sum(pg_catalog.octet_length(value))
                FILTER (WHERE pg_catalog.octet_length(value) OPERATOR(pg_catalog.<=) 1048576)
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
) AS limited
