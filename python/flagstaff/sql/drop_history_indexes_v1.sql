DROP INDEX IF EXISTS
    {schema}.flagstaff_change_actor, {schema}.flagstaff_change_at, {schema}.flagstaff_change_action;
