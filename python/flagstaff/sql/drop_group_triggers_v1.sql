-- Reverses group_triggers_v1. CASCADE also drops the triggers that call the function.
DROP FUNCTION IF EXISTS {schema}.flagstaff_groups_v1() CASCADE;
