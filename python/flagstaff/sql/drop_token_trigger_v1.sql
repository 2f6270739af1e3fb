-- Removes the triggers of a table of an optional app.
DROP TRIGGER IF EXISTS flagstaff_token_insert_v1 ON {table};
DROP TRIGGER IF EXISTS flagstaff_token_update_v1 ON {table};
DROP TRIGGER IF EXISTS flagstaff_token_delete_v1 ON {table};
DROP TRIGGER IF EXISTS flagstaff_token_truncate_v1 ON {table};
