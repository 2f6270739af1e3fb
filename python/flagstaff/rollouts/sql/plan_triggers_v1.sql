-- The trigger of the plans. Workers load them again after a change; plans have no history of their
-- own, because their events are rows. ALWAYS, to fire in sessions that replicate or restore too.
CREATE OR REPLACE TRIGGER flagstaff_token_v1
AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.flagstaff_token_v1(p);
ALTER TABLE {table} ENABLE ALWAYS TRIGGER flagstaff_token_v1;
