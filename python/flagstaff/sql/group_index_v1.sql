-- Finds the rows of a table that read a group, such as flags, however many others there are. Created
-- again, because the table may be another one than before. Without fastupdate, a look-up reads no list
-- of pending entries.
DROP INDEX IF EXISTS {index_schema}.{index};
CREATE INDEX {index} ON {table} USING gin (({references}) pg_catalog.jsonb_ops)
WITH (fastupdate = off)
WHERE {document}::text OPERATOR(pg_catalog.~~) '%"attribute": "groups"%';
