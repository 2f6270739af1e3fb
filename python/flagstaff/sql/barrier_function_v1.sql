-- Creates a barrier after the commit of a change: a worker that has loaded it has the change.
-- One that asks the workers behind replication, too, has a key: each of their reports is a log-in here.
-- The setting is a parameter of the transaction, because a version before has a function without it.
-- The arguments are typed: for a bare literal, PostgreSQL prefers a function for text, which another
-- role may have created in the schema, and which would run with the privileges of the owner.
CREATE OR REPLACE FUNCTION {schema}.flagstaff_barrier_v1() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    RETURN {schema}.flagstaff_write_token_v1(
        'b'::"char",
        CASE
            WHEN current_setting('flagstaff.asks_regions', true) = 'true' THEN ARRAY['regions']
            ELSE '{}'::text[]
        END
    );
END
$function$;
REVOKE EXECUTE ON FUNCTION {schema}.flagstaff_barrier_v1() FROM PUBLIC;
