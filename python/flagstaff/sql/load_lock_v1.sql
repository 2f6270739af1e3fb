-- Begins the transaction of a load. The locks come before the first SELECT: TRUNCATE is not
-- MVCC-safe, and a load during "TRUNCATE; INSERT" could see no rows at all. A load that waits for a
-- lock makes others wait behind it, so the lock timeout is short. The statement timeout is long,
-- because it counts the sending too. With row_security off, the server refuses a query whose rows
-- row level security would hide.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL lock_timeout = '500ms';
SET LOCAL statement_timeout = '1h';
SET LOCAL row_security = off;
LOCK TABLE {loaded_tables} IN ACCESS SHARE MODE
