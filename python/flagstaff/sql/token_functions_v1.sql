-- Writes a token, notifies the workers, and at every 64th token deletes some old ones.
-- The notification carries the oid of the token table: other projects in this database use the same
-- channel.
-- Only READ COMMITTED prunes: a stricter transaction would fail on rows that another has deleted.
CREATE OR REPLACE FUNCTION {schema}.flagstaff_write_token_v1(of_relation "char") RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    token bigint;
    table_id oid;
BEGIN
    INSERT INTO {token_table} (relation, entry_missing)
    VALUES (of_relation, coalesce(current_setting('flagstaff.entry_missing', true) = 'true', false))
    RETURNING id, tableoid INTO token, table_id;
    PERFORM pg_notify('flagstaff_v1', table_id::text);
    IF token % 64 = 0 AND current_setting('transaction_isolation') = 'read committed' THEN
        -- By ctid, because ids may repeat. SKIP LOCKED, so that writers do not wait here.
        DELETE FROM {token_table} WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM {token_table} WHERE id < token - 1000
            ORDER BY id LIMIT 256 FOR UPDATE SKIP LOCKED
        ));
    END IF;
    RETURN token;
END
$function$;
REVOKE EXECUTE ON FUNCTION {schema}.flagstaff_write_token_v1("char") FROM PUBLIC;

-- The token trigger of a watched table. Its argument is the relation. If the token cannot be
-- written, the change fails, because workers would not see it.
-- The history triggers of a statement fire before its token trigger, by their names. One that could
-- not write its entries has left the oid of its table in a parameter of the transaction; the token is
-- then marked.
CREATE OR REPLACE FUNCTION {schema}.flagstaff_token_v1() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    missing_in text[] := string_to_array(current_setting('flagstaff.missing_in', true), ' ');
BEGIN
    IF TG_RELID::text = ANY (missing_in) THEN
        missing_in := array_remove(missing_in, TG_RELID::text);
        PERFORM set_config('flagstaff.missing_in', array_to_string(missing_in, ' '), true);
        PERFORM set_config('flagstaff.entry_missing', 'true', true);
        PERFORM {schema}.flagstaff_write_token_v1(TG_ARGV[0]::"char");
        PERFORM set_config('flagstaff.entry_missing', '', true);
    ELSE
        PERFORM {schema}.flagstaff_write_token_v1(TG_ARGV[0]::"char");
    END IF;
    RETURN NULL;
END
$function$;
REVOKE EXECUTE ON FUNCTION {schema}.flagstaff_token_v1() FROM PUBLIC;
