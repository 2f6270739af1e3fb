-- All values, as the text that the model field decodes. A value over 1 MiB is not loaded, and
-- neither are the largest ones beyond a total of 64 MiB: only their keys are.
SELECT
    pk,
    key,
    NOT fits AS too_large,
    CASE WHEN fits THEN value END AS value,
    is_secret
FROM (
    SELECT
        pk,
        key,
        value,
        is_secret,
        coalesce(
            size OPERATOR(pg_catalog.<=) 1048576 AND total OPERATOR(pg_catalog.<=) 67108864, true
        ) AS fits
    FROM (
        SELECT
            pk,
            key,
            value,
            is_secret,
            pg_catalog.octet_length(value) AS size,
            pg_catalog.sum(pg_catalog.octet_length(value))
                FILTER (WHERE pg_catalog.octet_length(value) OPERATOR(pg_catalog.<=) 1048576)
                OVER (ORDER BY pg_catalog.octet_length(value), pk) AS total
        FROM (
            SELECT
                {value_pk}::text AS pk,
                {value_key}::text AS key,
                {value_value}::text AS value,
                coalesce({value_secret}, false) AS is_secret
            FROM {value_table}
            OFFSET 0  -- prevents three casts of every value to text
        ) AS stored
    ) AS measured
) AS limited
