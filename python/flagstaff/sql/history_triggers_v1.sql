-- The history of one watched table. The arguments are its relation and its columns. It fires in origin
-- mode only: a subscriber receives the publisher's entries as rows.
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
