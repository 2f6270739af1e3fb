-- impact_users_v1
-- The primary keys of the users from the page of $1 on to that of $2, as one array: a row for each
-- costs three times as much to send. In the order of the pages, because along the index each user
-- of a table that was not vacuumed lately costs a look at another page.
SELECT pg_catalog.array_agg({user_pk}::{user_read_as}) AS users
FROM {user_table}
WHERE ctid OPERATOR(pg_catalog.>=) $1::tid AND ctid OPERATOR(pg_catalog.<) $2::tid
