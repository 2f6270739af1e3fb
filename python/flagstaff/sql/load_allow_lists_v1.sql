-- Every allow-list as one array per flag: one row per entry costs three times as much to send.
SELECT
    {allow_flag}::text AS flag_pk,
    pg_catalog.array_agg({allow_user}::{allow_user_type}) AS users
FROM {allow_table}
WHERE {allow_flag} IS NOT NULL AND {allow_user} IS NOT NULL
GROUP BY {allow_flag}
