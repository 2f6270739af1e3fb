-- The functions of the history triggers.

-- Returns a row with one column replaced by its digest, which shows that a secret changed.
CREATE OR REPLACE FUNCTION {schema}.flagstaff_digest_v1(entry jsonb, hidden text) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT entry || jsonb_build_object(hidden, jsonb_build_object(
        'sha256', encode(sha256(convert_to((entry -> hidden)::text, 'UTF8')), 'hex')
    ))
$function$;
REVOKE EXECUTE ON FUNCTION {schema}.flagstaff_digest_v1(jsonb, text) FROM PUBLIC;

-- Writes the history of flags and values. Arguments: relation, the columns of the pk and the key,
-- the columns of a secret value that are masked (empty for flags), then the columns whose change
-- alone is not recorded. Of secrets the first column, the value, is replaced by its digest. The
-- others, such as the choices that are few, get a mark that says only whether they changed.
-- An UPDATE of a pk is recorded as a delete and an insert, because rows are joined by their pks.
-- If an entry cannot be written, the trigger warns and the change succeeds: the history must never
-- block a change. For the same reason it waits at most one second for a lock. The token of the
-- statement is then marked (token_functions_v1).
-- A restore of the table without its sequence, as by "pg_restore --data-only --table", lets ids repeat.
-- The second attempt then sets the sequence behind the last entry, under a lock, or it could set back
-- what another session has set, and its ids would repeat. It ends by an error, because the rollback
-- of its block releases the lock, for which no change waits, and keeps the sequence.
CREATE OR REPLACE FUNCTION {schema}.flagstaff_row_history_v1() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s'
AS $function$
DECLARE
    pairs text;
    statement text;
BEGIN
    CASE TG_OP
        WHEN 'INSERT' THEN
            pairs := 'SELECT NULL::jsonb, to_jsonb(n) FROM new_rows AS n';
        WHEN 'DELETE' THEN
            pairs := 'SELECT to_jsonb(o), NULL::jsonb FROM old_rows AS o';
        WHEN 'UPDATE' THEN
            pairs := 'SELECT o.entry, n.entry
                FROM (SELECT to_jsonb(t) AS entry FROM old_rows AS t) AS o
                FULL JOIN (SELECT to_jsonb(t) AS entry FROM new_rows AS t) AS n
                    ON o.entry ->> $2 = n.entry ->> $2';
        ELSE
            pairs := format(
                'SELECT to_jsonb(t), NULL::jsonb FROM %I.%I AS t', TG_TABLE_SCHEMA, TG_TABLE_NAME
            );
    END CASE;
    statement :=
        $query$
            INSERT INTO {change_table}
                (object_table, relation, object_pk, key, action, old, new)
            SELECT
                $7::regclass,
                $1::"char",
                coalesce(new, old) ->> $2,
                coalesce(new, old) ->> $3,
                CASE
                    WHEN old IS NULL THEN 'insert'
                    WHEN new IS NOT NULL THEN 'update'
                    WHEN $6 = 'TRUNCATE' THEN 'truncate'
                    ELSE 'delete'
                END,
                CASE WHEN hidden
                    THEN {schema}.flagstaff_digest_v1(old, $4[1]) || old_marks ELSE old END,
                CASE WHEN hidden
                    THEN {schema}.flagstaff_digest_v1(new, $4[1]) || new_marks ELSE new END
            FROM (%s) AS pair (old, new)
            CROSS JOIN LATERAL (
                SELECT $4 IS NOT NULL AND 'true' IN (
                    coalesce(old ->> 'secret', ''), coalesce(new ->> 'secret', '')
                )
            ) AS secret (hidden)
            CROSS JOIN LATERAL (
                SELECT
                    coalesce(jsonb_object_agg(
                        name, '{"masked": true}'::jsonb
                    ) FILTER (WHERE (old -> name) <> '[]'), '{}'),
                    coalesce(jsonb_object_agg(
                        name, CASE WHEN (old -> name) <> (new -> name)
                            THEN '{"masked": true, "changed": true}'::jsonb
                            ELSE '{"masked": true}'::jsonb END
                    ) FILTER (WHERE (new -> name) <> '[]'), '{}')
                FROM unnest($4[2:]) AS masked (name)
                WHERE hidden
            ) AS marks (old_marks, new_marks)
            -- As texts, because 1 and 1.0 are equal numbers but different values.
            WHERE (old - $5)::text IS DISTINCT FROM (new - $5)::text
            ORDER BY coalesce(new, old) ->> $3
        $query$;
    FOR attempt IN 1..3 LOOP
        BEGIN
            IF attempt = 2 THEN
                PERFORM pg_advisory_xact_lock(hashtext('flagstaff_change'));
                PERFORM setval(own_ids, last_id)
                FROM pg_get_serial_sequence($name${change_table}$name$, 'id') AS own_ids,
                    (SELECT max(id) FROM {change_table}) AS entry (last_id)
                WHERE last_id > coalesce(pg_sequence_last_value(own_ids), 0);
                RAISE unique_violation;
            END IF;
            EXECUTE format(statement, pairs)
            USING TG_ARGV[0], TG_ARGV[1], TG_ARGV[2], nullif(TG_ARGV[3], '')::text[], TG_ARGV[4:],
                TG_OP, TG_RELID;
            RETURN NULL;
        EXCEPTION WHEN OTHERS THEN
            CONTINUE WHEN attempt < 3 AND SQLSTATE = '23505';
            PERFORM set_config('flagstaff.missing_in', concat_ws(
                ' ', nullif(current_setting('flagstaff.missing_in', true), ''), TG_RELID
            ), true);
            RAISE WARNING 'flagstaff: no history of this % on %: % (%)',
                TG_OP, TG_TABLE_NAME, SQLERRM, SQLSTATE;
            RETURN NULL;
        END;
    END LOOP;
END
$function$;
REVOKE EXECUTE ON FUNCTION {schema}.flagstaff_row_history_v1() FROM PUBLIC;

-- Writes the history of allowed users. Arguments: relation, the columns of the flag and the user,
-- then the table of flags and its columns of the pk and the key.
-- If the flag is deleted already, its key is read from the entry of that deletion.
CREATE OR REPLACE FUNCTION {schema}.flagstaff_allowed_users_history_v1() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s'
AS $function$
DECLARE
    pairs text;
    statement text;
BEGIN
    CASE TG_OP
        WHEN 'INSERT' THEN
            pairs := 'SELECT %1$I, %2$I, true FROM new_rows';
        WHEN 'DELETE' THEN
            pairs := 'SELECT %1$I, %2$I, false FROM old_rows';
        WHEN 'UPDATE' THEN
            pairs := '(
                    SELECT %1$I, %2$I, false FROM old_rows
                    EXCEPT ALL SELECT %1$I, %2$I, false FROM new_rows
                ) UNION ALL (
                    SELECT %1$I, %2$I, true FROM new_rows
                    EXCEPT ALL SELECT %1$I, %2$I, true FROM old_rows
                )';
        ELSE
            pairs := 'SELECT %1$I, %2$I, false FROM %3$I.%4$I';
    END CASE;
    statement :=
        $query$
            INSERT INTO {change_table}
                (object_table, relation, object_pk, key, action, old, new)
            SELECT
                $3::regclass,
                $1::"char",
                entry.flag::text,
                coalesce(flag.%3$I::text, (
                    SELECT key FROM {change_table}
                    WHERE relation = 'f' AND object_pk = entry.flag::text
                        AND object_table = $3::regclass AND action IN ('delete', 'truncate')
                    ORDER BY id DESC LIMIT 1
                ), ''),
                lower($2),
                entry.removed,
                entry.added
            FROM (
                SELECT
                    flag,
                    coalesce(to_jsonb(array_agg(user_pk) FILTER (WHERE NOT is_added)), '[]'),
                    coalesce(to_jsonb(array_agg(user_pk) FILTER (WHERE is_added)), '[]')
                FROM (%4$s) AS pair (flag, user_pk, is_added)
                GROUP BY flag
            ) AS entry (flag, removed, added)
            LEFT JOIN %1$s AS flag ON flag.%2$I = entry.flag
            ORDER BY 4
        $query$;
    FOR attempt IN 1..3 LOOP
        BEGIN
            IF attempt = 2 THEN
                PERFORM pg_advisory_xact_lock(hashtext('flagstaff_change'));
                PERFORM setval(own_ids, last_id)
                FROM pg_get_serial_sequence($name${change_table}$name$, 'id') AS own_ids,
                    (SELECT max(id) FROM {change_table}) AS entry (last_id)
                WHERE last_id > coalesce(pg_sequence_last_value(own_ids), 0);
                RAISE unique_violation;
            END IF;
            EXECUTE format(
                statement, TG_ARGV[3], TG_ARGV[4], TG_ARGV[5],
                format(pairs, TG_ARGV[1], TG_ARGV[2], TG_TABLE_SCHEMA, TG_TABLE_NAME)
            ) USING TG_ARGV[0], TG_OP, TG_ARGV[3];
            RETURN NULL;
        EXCEPTION WHEN OTHERS THEN
            CONTINUE WHEN attempt < 3 AND SQLSTATE = '23505';
            PERFORM set_config('flagstaff.missing_in', concat_ws(
                ' ', nullif(current_setting('flagstaff.missing_in', true), ''), TG_RELID
            ), true);
            RAISE WARNING 'flagstaff: no history of this % on %: % (%)',
                TG_OP, TG_TABLE_NAME, SQLERRM, SQLSTATE;
            RETURN NULL;
        END;
    END LOOP;
END
$function$;
REVOKE EXECUTE ON FUNCTION {schema}.flagstaff_allowed_users_history_v1() FROM PUBLIC;
