-- Creates a barrier after the commit of a change: a worker that has loaded it has the change.
-- The arguments are typed: for a bare literal, PostgreSQL prefers a function for text, which another
-- role may have created in the schema, and which would run with the privileges of the owner.
CREATE OR REPLACE FUNCTION {schema}.flagstaff_barrier_v1() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    RETURN {schema}.flagstaff_write_token_v1('b'::"char", '{}'::text[]);
END
$function$;
REVOKE EXECUTE ON FUNCTION {schema}.flagstaff_barrier_v1() FROM PUBLIC;
