DROP INDEX IF EXISTS
    {schema}.flagstaff_change_actor,
    {schema}.flagstaff_change_user,
    {schema}.flagstaff_change_source,
    {schema}.flagstaff_change_at,
    {schema}.flagstaff_change_action,
    {schema}.flagstaff_change_transaction,
    {schema}.flagstaff_change_state,
    {schema}.flagstaff_change_named;
