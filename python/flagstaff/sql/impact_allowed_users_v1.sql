-- impact_allowed_users_v1
-- The allowed users of a flag. Returns a row for each row with the key.
SELECT
    ARRAY(
        SELECT {allowed_users_user}::{allowed_users_type} FROM {allowed_users_table}
        WHERE {allowed_users_flag} OPERATOR(pg_catalog.=) {flag_table}.{flag_pk}
            AND {allowed_users_user} IS NOT NULL
    ) AS users
FROM {flag_table}
WHERE {flag_key} OPERATOR(pg_catalog.=) $1
