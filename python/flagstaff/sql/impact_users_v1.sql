-- impact_users_v1
-- A batch of users' primary keys in their order, as one array: a row for each costs three times as
-- much to send.
SELECT pg_catalog.array_agg(pk::{user_read_as}) AS users
FROM (
    SELECT {user_pk} AS pk FROM {user_table}
    {after}
    ORDER BY {user_pk}
    LIMIT 10000
) AS batch
