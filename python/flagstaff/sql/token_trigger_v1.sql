-- The triggers that write one token for each statement on a watched table: a trigger with transition
-- tables has one event. ALWAYS, to fire in sessions that replicate or restore too. A table of an optional
-- app has these alone, because its events are rows.
CREATE OR REPLACE TRIGGER flagstaff_token_insert_v1
AFTER INSERT ON {table} REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.flagstaff_token_v1({relation}, {pk_columns});

CREATE OR REPLACE TRIGGER flagstaff_token_update_v1
AFTER UPDATE ON {table} REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.flagstaff_token_v1({relation}, {pk_columns});

CREATE OR REPLACE TRIGGER flagstaff_token_delete_v1
AFTER DELETE ON {table} REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.flagstaff_token_v1({relation}, {pk_columns});

CREATE OR REPLACE TRIGGER flagstaff_token_truncate_v1
AFTER TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.flagstaff_token_v1({relation}, {pk_columns});

ALTER TABLE {table}
    ENABLE ALWAYS TRIGGER flagstaff_token_insert_v1,
    ENABLE ALWAYS TRIGGER flagstaff_token_update_v1,
    ENABLE ALWAYS TRIGGER flagstaff_token_delete_v1,
    ENABLE ALWAYS TRIGGER flagstaff_token_truncate_v1;
