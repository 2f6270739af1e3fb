-- Removes the trigger of the plans.
DROP TRIGGER IF EXISTS flagstaff_token_v1 ON {table};
