-- All segments.
SELECT
    {segment_pk}::text AS pk,
    {segment_key}::text AS key,
    {segment_conditions}::text AS conditions
FROM {segment_table}
{restriction}
