-- impact_users_v1
-- The primary keys of the users from the page of $1 up to that of $2, as one array: one row per
-- user would take three times as long to send. By page and not by index, which in a table without a
-- recent vacuum would read another page for each user.
SELECT pg_catalog.array_agg({user_pk}::{user_pk_type}) AS users
FROM {user_table}
WHERE ctid OPERATOR(pg_catalog.>=) $1::tid AND ctid OPERATOR(pg_catalog.<) $2::tid
