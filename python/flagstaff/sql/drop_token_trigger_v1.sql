-- Removes the trigger of a table of an optional app.
DROP TRIGGER IF EXISTS flagstaff_token_v1 ON {table};
