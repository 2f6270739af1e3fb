-- Every setting, its value as the text that the model field decodes.
SELECT
    {value_pk}::text AS pk,
    {value_key}::text AS key,
    {value_value}::text AS value
FROM {value_table}
