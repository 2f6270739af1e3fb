-- Which of some users are allowed, by flag. $1 are pairs of a flag and a user, one after the other.
-- absent are those that are not allowed.
SELECT
    flag_pk,
    coalesce(
        pg_catalog.array_agg(user_pk) FILTER (WHERE is_allowed), ARRAY[]::{allowed_users_type}[]
    ) AS users,
    coalesce(
        pg_catalog.array_agg(user_pk) FILTER (WHERE NOT is_allowed), ARRAY[]::{allowed_users_type}[]
    ) AS absent
FROM (
    SELECT
        flag_pk,
        user_pk::{allowed_users_user_type}::{allowed_users_type} AS user_pk,
        EXISTS (
            SELECT FROM {allowed_users_table}
            WHERE {allowed_users_flag} OPERATOR(pg_catalog.=) flag_pk::{flag_pk_type}
                AND {allowed_users_user} OPERATOR(pg_catalog.=) user_pk::{allowed_users_user_type}
                -- A collation may ignore the case.
                AND {allowed_users_flag}::text COLLATE pg_catalog."C"
                    OPERATOR(pg_catalog.=) flag_pk COLLATE pg_catalog."C"
                AND {allowed_users_user}::text COLLATE pg_catalog."C"
                    OPERATOR(pg_catalog.=) user_pk COLLATE pg_catalog."C"
        ) AS is_allowed
    FROM (
        SELECT
            ($1::text[])[2 OPERATOR(pg_catalog.*) number OPERATOR(pg_catalog.-) 1] AS flag_pk,
            ($1::text[])[2 OPERATOR(pg_catalog.*) number] AS user_pk
        FROM pg_catalog.generate_series(
            1, pg_catalog.cardinality($1::text[]) OPERATOR(pg_catalog./) 2
        ) AS number
    ) AS pair
) AS found
GROUP BY flag_pk
