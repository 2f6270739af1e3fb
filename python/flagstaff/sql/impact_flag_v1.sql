-- impact_flag_v1
-- One flag with its allowed users, as workers load them. Returns a row for each row with the key.
-- reads_attributes is true for a flag with rules, and for one that does not bucket by the user.
SELECT
    {flag_enabled} AS enabled,
    CASE
        WHEN {flag_rollout}::float8 OPERATOR(pg_catalog.<>) 'NaN'
            THEN pg_catalog.ceil(least(100, greatest(-1, {flag_rollout})))::int4
    END AS rollout_percent,
    coalesce({flag_rules}::text OPERATOR(pg_catalog.<>) '[]', false)
        OR coalesce({flag_bucket_by}, 'user') OPERATOR(pg_catalog.<>) 'user' AS reads_attributes,
    ARRAY(
        SELECT {allowed_users_user}::{allowed_users_type} FROM {allowed_users_table}
        WHERE {allowed_users_flag} OPERATOR(pg_catalog.=) {flag_table}.{flag_pk}
            AND {allowed_users_user} IS NOT NULL
    ) AS users
FROM {flag_table}
WHERE {flag_key} OPERATOR(pg_catalog.=) $1
