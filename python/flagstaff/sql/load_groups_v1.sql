-- The members of the groups with the names $1, or of all groups if $1 is NULL: one row per name. A
-- group without members has an empty array. Names are compared byte by byte, as in rules. Two
-- groups may share a name if the project's own model allows it.
SELECT
    name,
    coalesce(
        pg_catalog.array_agg(user_pk) FILTER (WHERE user_pk IS NOT NULL),
        ARRAY[]::{membership_user_type}[]
    ) AS users
FROM (
    SELECT
        found.name,
        member.{membership_user}::{membership_user_type} AS user_pk
    FROM (
        SELECT {group_pk} AS pk, {group_name}::text COLLATE pg_catalog."C" AS name
        FROM {group_table}
    ) AS found
    LEFT JOIN {membership_table} AS member
        ON member.{membership_group} OPERATOR(pg_catalog.=) found.pk
    WHERE found.name IS NOT NULL
        AND ($1::text[] IS NULL OR found.name OPERATOR(pg_catalog.=) ANY ($1::text[]))
) AS loaded
GROUP BY name
