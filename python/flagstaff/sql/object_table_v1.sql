-- The table of the flag or value that an entry is about: a project may have watched other tables
-- before, with the same primary keys.
-- regclass, because it survives what usually happens to tables: it is stored as an oid, which a
-- rename keeps, and dumped as a name, which a restore resolves to the new oid.
ALTER TABLE {change_table} ADD COLUMN IF NOT EXISTS object_table regclass;
