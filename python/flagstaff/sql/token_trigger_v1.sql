-- The trigger of a table of an optional app. Workers load the table again after a change; it has no
-- history in the core, because its events are rows. ALWAYS, to fire in sessions that replicate or
-- restore too.
CREATE OR REPLACE TRIGGER flagstaff_token_v1
AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.flagstaff_token_v1({relation});
ALTER TABLE {table} ENABLE ALWAYS TRIGGER flagstaff_token_v1;
