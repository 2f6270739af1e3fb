-- The triggers of a table of an optional app. Workers load the table again after a change; it has no
-- history in the core, because its events are rows. ALWAYS, to fire in sessions that replicate or
-- restore too.
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
