-- Writes columns of rows of one table. Each row of parameters begins with the primary key.
UPDATE {table} AS present SET {assignments}
FROM (VALUES {rows}) AS new ({columns})
WHERE present.{pk} OPERATOR(pg_catalog.=) new.{pk}::{pk_type}
