-- Reverses triggers_v1 on one table.
DROP TRIGGER IF EXISTS flagstaff_token_insert_v1 ON {table};
DROP TRIGGER IF EXISTS flagstaff_token_update_v1 ON {table};
DROP TRIGGER IF EXISTS flagstaff_token_delete_v1 ON {table};
DROP TRIGGER IF EXISTS flagstaff_token_truncate_v1 ON {table};
DROP TRIGGER IF EXISTS flagstaff_history_insert_v1 ON {table};
DROP TRIGGER IF EXISTS flagstaff_history_update_v1 ON {table};
DROP TRIGGER IF EXISTS flagstaff_history_delete_v1 ON {table};
DROP TRIGGER IF EXISTS flagstaff_history_truncate_v1 ON {table};
