-- Which of some users are members of groups, by the name of the group. $1 are pairs of a group and a
-- user, one after the other, $2 the names of the groups that are read, NULL for all.
-- absent are those that are members of no group with this name: two groups may share one.
SELECT
    name,
    coalesce(
        pg_catalog.array_agg(user_pk) FILTER (WHERE is_member), ARRAY[]::{membership_user_type}[]
    ) AS users,
    coalesce(
        pg_catalog.array_agg(user_pk) FILTER (WHERE NOT is_member), ARRAY[]::{membership_user_type}[]
    ) AS absent
FROM (
    SELECT
        named.name,
        user_pk::{membership_user_key_type}::{membership_user_type} AS user_pk,
        EXISTS (
            SELECT
            FROM {group_table} AS same
            JOIN {membership_table} AS member
                ON member.{membership_group} OPERATOR(pg_catalog.=) same.{group_pk}
            WHERE same.{group_name}::text COLLATE pg_catalog."C"
                    OPERATOR(pg_catalog.=) named.name COLLATE pg_catalog."C"
                AND member.{membership_user}
                    OPERATOR(pg_catalog.=) user_pk::{membership_user_key_type}
                -- A collation may ignore the case.
                AND member.{membership_user}::text COLLATE pg_catalog."C"
                    OPERATOR(pg_catalog.=) user_pk COLLATE pg_catalog."C"
        ) AS is_member
    FROM (
        SELECT
            ($1::text[])[2 OPERATOR(pg_catalog.*) number OPERATOR(pg_catalog.-) 1] AS group_pk,
            ($1::text[])[2 OPERATOR(pg_catalog.*) number] AS user_pk
        FROM pg_catalog.generate_series(
            1, pg_catalog.cardinality($1::text[]) OPERATOR(pg_catalog./) 2
        ) AS number
    ) AS pair
    CROSS JOIN LATERAL (
        SELECT {group_name}::text AS name FROM {group_table}
        WHERE {group_pk} OPERATOR(pg_catalog.=) pair.group_pk::{group_pk_type}
            AND {group_name} IS NOT NULL
    ) AS named
    WHERE $2::text[] IS NULL
        OR named.name COLLATE pg_catalog."C" OPERATOR(pg_catalog.=) ANY ($2::text[])
) AS found
GROUP BY name
