-- All segments. Conditions over 256 KiB are not loaded.
SELECT
    pk,
    key,
    too_large,
    CASE WHEN NOT too_large THEN conditions END AS conditions
FROM (
    SELECT
        pk,
        key,
        coalesce(pg_catalog.octet_length(conditions) OPERATOR(pg_catalog.>) 262144, false)
            AS too_large,
        conditions
    FROM (
        SELECT
            {segment_pk}::text AS pk,
            {segment_key}::text AS key,
            {segment_conditions}::text AS conditions
        FROM {segment_table}
        {restriction}
        OFFSET 0  -- prevents three casts of all conditions to text
    ) AS stored
) AS checked
