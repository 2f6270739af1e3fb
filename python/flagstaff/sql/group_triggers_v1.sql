-- Writes a token if a statement concerns a group that a rule or a segment reads. The argument is
-- what the table holds: members or groups.
-- Nothing here fails the statement, which may be a sign-up. If the references cannot be looked up,
-- a token is written; if no token can be written, workers see the change at their next full load.
-- The lock timeout is short, because a sign-up may wait for it twice.
-- With row_security off, a look-up whose rows row level security would hide is such a failure, too.
-- The token has the pairs of group and user of a change of members; a change of a group itself can
-- concern any user.
-- The references are read from the tables themselves: from all that have an index (group_index_v1).
CREATE OR REPLACE FUNCTION {schema}.flagstaff_groups_v1() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' SET row_security = off
AS $function$
DECLARE
    concerned_names text[];
    is_referenced boolean;
    pairs text[];
BEGIN
    BEGIN
        -- DISTINCT and ANY, so that a plan for one row also serves a million.
        CASE concat_ws(' ', TG_OP, TG_ARGV[0])
            WHEN 'INSERT members' THEN
                SELECT array_agg({group_name}::text) INTO concerned_names FROM {group_table}
                WHERE {group_pk} = ANY (ARRAY(SELECT DISTINCT {membership_group} FROM new_rows));
            WHEN 'DELETE members' THEN
                SELECT array_agg({group_name}::text) INTO concerned_names FROM {group_table}
                WHERE {group_pk} = ANY (ARRAY(SELECT DISTINCT {membership_group} FROM old_rows));
            WHEN 'UPDATE members' THEN
                SELECT array_agg({group_name}::text) INTO concerned_names FROM {group_table}
                WHERE {group_pk} = ANY (ARRAY(
                    SELECT pair.group_pk FROM (
                        (
                            SELECT {membership_group}, {membership_user} FROM old_rows
                            EXCEPT ALL SELECT {membership_group}, {membership_user} FROM new_rows
                        ) UNION ALL (
                            SELECT {membership_group}, {membership_user} FROM new_rows
                            EXCEPT ALL SELECT {membership_group}, {membership_user} FROM old_rows
                        )
                    ) AS pair (group_pk, user_pk)
                ));
            WHEN 'INSERT groups' THEN
                SELECT array_agg({group_name}::text) INTO concerned_names FROM new_rows;
            WHEN 'DELETE groups' THEN
                SELECT array_agg({group_name}::text) INTO concerned_names FROM old_rows;
            WHEN 'UPDATE groups' THEN
                -- By bytes, as in rules: a collation may ignore the case.
                SELECT array_agg(pair.name) INTO concerned_names FROM (
                    (
                        SELECT {group_pk}, {group_name}::text COLLATE "C" FROM old_rows
                        EXCEPT ALL SELECT {group_pk}, {group_name}::text COLLATE "C" FROM new_rows
                    ) UNION ALL (
                        SELECT {group_pk}, {group_name}::text COLLATE "C" FROM new_rows
                        EXCEPT ALL SELECT {group_pk}, {group_name}::text COLLATE "C" FROM old_rows
                    )
                ) AS pair (pk, name);
            ELSE  -- TRUNCATE
                is_referenced := {reads_any};
        END CASE;
        IF concerned_names IS NOT NULL THEN
            concerned_names := array_append(concerned_names, '');
            is_referenced := {reads_concerned};
        END IF;
        IF is_referenced AND TG_ARGV[0] = 'members' THEN
            CASE TG_OP
                WHEN 'INSERT' THEN
                    pairs := ARRAY(
                        SELECT ARRAY[{membership_group}::text, {membership_user}::text]
                        FROM new_rows LIMIT 65
                    );
                WHEN 'DELETE' THEN
                    pairs := ARRAY(
                        SELECT ARRAY[{membership_group}::text, {membership_user}::text]
                        FROM old_rows LIMIT 65
                    );
                WHEN 'UPDATE' THEN
                    pairs := ARRAY(
                        SELECT ARRAY[{membership_group}::text, {membership_user}::text]
                        FROM new_rows LIMIT 65
                    ) || ARRAY(
                        SELECT ARRAY[{membership_group}::text, {membership_user}::text]
                        FROM old_rows LIMIT 65
                    );
                ELSE  -- TRUNCATE
                    pairs := NULL;
            END CASE;
            IF array_length(pairs, 1) > 64 OR EXISTS (
                SELECT FROM unnest(pairs) AS part
                WHERE (part COLLATE "C" ~ '^[ -~]{0,100}$') IS NOT TRUE
            ) THEN
                pairs := NULL;
            END IF;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        is_referenced := true;
        pairs := NULL;
    END;
    IF is_referenced THEN
        PERFORM {schema}.flagstaff_write_token_v1('g'::"char", pairs);
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'flagstaff: no change token for this % on %: % (%)',
        TG_OP, TG_TABLE_NAME, SQLERRM, SQLSTATE;
    RETURN NULL;
END
$function$;
REVOKE EXECUTE ON FUNCTION {schema}.flagstaff_groups_v1() FROM PUBLIC;

-- A statement trigger with transition tables has one event. ALWAYS, to fire in sessions that
-- replicate or restore too.
CREATE OR REPLACE TRIGGER flagstaff_groups_insert_v1
AFTER INSERT ON {membership_table} REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.flagstaff_groups_v1(members);

CREATE OR REPLACE TRIGGER flagstaff_groups_update_v1
AFTER UPDATE ON {membership_table} REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.flagstaff_groups_v1(members);

CREATE OR REPLACE TRIGGER flagstaff_groups_delete_v1
AFTER DELETE ON {membership_table} REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.flagstaff_groups_v1(members);

CREATE OR REPLACE TRIGGER flagstaff_groups_truncate_v1
AFTER TRUNCATE ON {membership_table}
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.flagstaff_groups_v1(members);

CREATE OR REPLACE TRIGGER flagstaff_groups_insert_v1
AFTER INSERT ON {group_table} REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.flagstaff_groups_v1(groups);

CREATE OR REPLACE TRIGGER flagstaff_groups_update_v1
AFTER UPDATE ON {group_table} REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.flagstaff_groups_v1(groups);

CREATE OR REPLACE TRIGGER flagstaff_groups_delete_v1
AFTER DELETE ON {group_table} REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.flagstaff_groups_v1(groups);

CREATE OR REPLACE TRIGGER flagstaff_groups_truncate_v1
AFTER TRUNCATE ON {group_table}
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.flagstaff_groups_v1(groups);

ALTER TABLE {membership_table}
    ENABLE ALWAYS TRIGGER flagstaff_groups_insert_v1,
    ENABLE ALWAYS TRIGGER flagstaff_groups_update_v1,
    ENABLE ALWAYS TRIGGER flagstaff_groups_delete_v1,
    ENABLE ALWAYS TRIGGER flagstaff_groups_truncate_v1;

ALTER TABLE {group_table}
    ENABLE ALWAYS TRIGGER flagstaff_groups_insert_v1,
    ENABLE ALWAYS TRIGGER flagstaff_groups_update_v1,
    ENABLE ALWAYS TRIGGER flagstaff_groups_delete_v1,
    ENABLE ALWAYS TRIGGER flagstaff_groups_truncate_v1;
