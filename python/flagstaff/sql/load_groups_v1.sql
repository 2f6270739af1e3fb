-- The members of the groups with the names $1, or of all groups if $1 is NULL: one row per group. A
-- group without members has an empty array. Names are compared byte by byte, as in rules. Two
-- groups may share a name if the project's own model allows it. A subquery per group, because a
-- join that is grouped by name would take twice as long for a large group.
SELECT
    {group_name}::text AS name,
    ARRAY(
        SELECT {membership_user}::{membership_user_type} FROM {membership_table}
        WHERE {membership_group} OPERATOR(pg_catalog.=) {group_table}.{group_pk}
            AND {membership_user} IS NOT NULL
    ) AS users,
    ARRAY[]::{membership_user_type}[] AS absent
FROM {group_table}
WHERE {group_name} IS NOT NULL
    AND (
        $1::text[] IS NULL
        OR {group_name}::text COLLATE pg_catalog."C" OPERATOR(pg_catalog.=) ANY ($1::text[])
    )
