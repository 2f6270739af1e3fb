-- The allowed users as one array per flag: one row per user would take three times as long to send.
SELECT
    {allowed_users_flag}::text AS flag_pk,
    pg_catalog.array_agg({allowed_users_user}::{allowed_users_type}) AS users,
    ARRAY[]::{allowed_users_type}[] AS absent
FROM {allowed_users_table}
WHERE {allowed_users_flag} IS NOT NULL AND {allowed_users_user} IS NOT NULL
GROUP BY {allowed_users_flag}
