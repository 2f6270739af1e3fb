-- Creates the function that writes a token for a change of groups that rules read. Django's signals
-- call it in the transaction of the change (flagstaff._tables.user_lookup).
-- It reads the tables that have token triggers now, and a column of rules or conditions. So it is
-- created again whenever the triggers of a table are installed or dropped.
-- Every role may call it, because every role may sign users up. All that it can do is to make workers
-- read members again: names are only compared, and a transaction has at most two tokens.
DO $do$
DECLARE
    is_read text;
BEGIN
    SELECT pg_catalog.string_agg(
        pg_catalog.format(
            'EXISTS (SELECT FROM %I.%I AS reader '
            'WHERE jsonb_path_exists(reader.%I, reads_group, changed, true))',
            n.nspname, c.relname, a.attname
        ),
        ' OR '
    ) INTO is_read
    FROM pg_catalog.pg_trigger AS t
    JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    JOIN pg_catalog.pg_attribute AS a
        ON a.attrelid OPERATOR(pg_catalog.=) c.oid
        AND a.attname::text OPERATOR(pg_catalog.=) ANY (ARRAY['rules', 'conditions'])
        AND a.atttypid OPERATOR(pg_catalog.=) 'pg_catalog.jsonb'::regtype
    WHERE t.tgname OPERATOR(pg_catalog.=) 'flagstaff_token_insert_v1'
        AND t.tgfoid OPERATOR(pg_catalog.=)
            pg_catalog.to_regprocedure($name${schema}.flagstaff_token_v1()$name$)::oid;
    EXECUTE pg_catalog.replace($create$
-- The names of the groups that changed, NULL for any; their keys, and those of the users who joined
-- or left, NULL for any.
CREATE OR REPLACE FUNCTION {schema}.flagstaff_groups_v1(
    of_names text[], of_groups text[], of_users text[]
)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms'
AS $function$
#variable_conflict use_variable
DECLARE
    -- A condition that may depend on one of the groups: it names it, or the names that it asks for
    -- are unknown, as with another operator than "in".
    reads_group CONSTANT jsonpath := '$.**{1 to 3} ? (
        @.type() == "object" && @.attribute == "groups" && (
            $any == true || !(@.operator == "in") || !exists(@.values[*])
            || exists(@.values[*] ? (@.type() != "string" || @ == $names[*]))
        )
    )';
    changed CONSTANT jsonb := jsonb_build_object(
        'names', of_names, 'any', of_names IS NULL OR cardinality(of_names) > 64
    );
    pairs text[];
    -- The token of this transaction, if it has one; "any" if that stands for all groups.
    own text := current_setting('flagstaff.group_token', true);
    is_written boolean := false;
BEGIN
    IF own = 'any' THEN
        RETURN;
    END IF;
    IF NOT (/* is read */) THEN
        RETURN;
    END IF;
    IF cardinality(of_groups) * cardinality(of_users) <= 64 AND NOT EXISTS (
        SELECT FROM unnest(of_groups || of_users) AS part
        WHERE (part COLLATE "C" ~ '^[ -~]{0,100}$') IS NOT TRUE
    ) THEN
        SELECT array_agg(ARRAY[group_key, user_key]) INTO pairs
        FROM unnest(of_groups) AS group_key, unnest(of_users) AS user_key;
    END IF;
    IF own <> '' AND current_setting('transaction_isolation') = 'serializable' THEN
        -- Reads no token, because sign-ups would abort each other: the second stands for all groups.
        pairs := NULL;
    ELSIF own <> '' THEN
        -- Its row is invisible to others until the commit.
        UPDATE {token_table} SET pks = CASE
            WHEN pairs IS NOT NULL AND cardinality(pks) + cardinality(pairs) <= 128
            THEN pks || pairs
        END
        WHERE id = own::bigint AND relation = 'g' AND xact = pg_current_xact_id()
        RETURNING pks INTO pairs;
        is_written := FOUND;
    END IF;
    IF NOT is_written THEN
        own := {schema}.flagstaff_write_token_v1('g'::"char", pairs);
    END IF;
    PERFORM set_config(
        'flagstaff.group_token', CASE WHEN pairs IS NULL THEN 'any' ELSE own END, true
    );
END
$function$;
GRANT EXECUTE ON FUNCTION {schema}.flagstaff_groups_v1(text[], text[], text[]) TO PUBLIC;
    $create$, '/* is read */', coalesce(is_read, 'false'));
END
$do$;
