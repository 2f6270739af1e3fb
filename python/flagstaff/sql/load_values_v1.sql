-- Every setting, its value as the text that the model field decodes. A value over 1 MiB stays where
-- it is, and so do the largest of those beyond 64 MiB in all: they are set aside by name.
SELECT
    pk,
    key,
    NOT fits AS too_large,
    CASE WHEN fits THEN value END AS value
FROM (
    SELECT
        pk,
        key,
        value,
        coalesce(size <= 1048576 AND total <= 67108864, true) AS fits
    FROM (
        SELECT
            pk,
            key,
            value,
            pg_catalog.octet_length(value) AS size,
            pg_catalog.sum(pg_catalog.octet_length(value))
                FILTER (WHERE pg_catalog.octet_length(value) <= 1048576)
                OVER (ORDER BY pg_catalog.octet_length(value), pk) AS total
        FROM (
            SELECT
                {value_pk}::text AS pk,
                {value_key}::text AS key,
                {value_value}::text AS value
            FROM {value_table}
            OFFSET 0  -- or every value would be made a text three times
        ) AS entry
    ) AS measured
) AS judged
