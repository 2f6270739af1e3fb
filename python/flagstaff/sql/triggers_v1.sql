-- The triggers of one watched table. Their arguments are its relation and its columns.

-- One token per statement. A trigger with transition tables has one event. ALWAYS, to fire in sessions
-- that replicate or restore too.
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

-- The history fires in origin mode only: a subscriber receives the publisher's entries as rows.
CREATE OR REPLACE TRIGGER flagstaff_history_insert_v1
AFTER INSERT ON {table} REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.{history_function}({relation}, {arguments});

CREATE OR REPLACE TRIGGER flagstaff_history_update_v1
AFTER UPDATE ON {table} REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.{history_function}({relation}, {arguments});

CREATE OR REPLACE TRIGGER flagstaff_history_delete_v1
AFTER DELETE ON {table} REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.{history_function}({relation}, {arguments});

-- BEFORE, because the rows are gone afterwards.
CREATE OR REPLACE TRIGGER flagstaff_history_truncate_v1
BEFORE TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.{history_function}({relation}, {arguments});
