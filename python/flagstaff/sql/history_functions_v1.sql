-- The functions of the history triggers.

-- Returns the secret columns in which two rows differ, as JSON; NULL if there are none. Of a created
-- or deleted row, these are the value, which is the first column, and lists that are not empty.
CREATE OR REPLACE FUNCTION {schema}.flagstaff_hidden_v1(old jsonb, new jsonb, secret text[])
RETURNS jsonb
LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT jsonb_agg(name ORDER BY place)
    FROM unnest(secret) WITH ORDINALITY AS given (name, place)
    -- As texts, because 1 and 1.0 are equal numbers but different values.
    WHERE (old -> name)::text IS DISTINCT FROM (new -> name)::text AND (
        place = 1 OR (old IS NOT NULL AND new IS NOT NULL)
        OR coalesce(old, new) -> name <> '[]'
    )
$function$;
REVOKE EXECUTE ON FUNCTION {schema}.flagstaff_hidden_v1(jsonb, jsonb, text[]) FROM PUBLIC;

-- Writes the history of flags and values. Arguments: relation, the columns of the pk and the key,
-- the columns that are not stored of a secret value (empty for flags), then the columns whose change
-- alone is not recorded. Of a secret value the entry says only which of its columns were set.
-- When a value becomes secret, these columns are removed from its earlier entries, and what waits for
-- it is cancelled, without arguments and results. If that is not possible, the change fails: it is the
-- one error of the history that blocks a change.
-- Of the entries that the transaction takes back (the parameter flagstaff.undoes), each entry stores
-- those of its row. Anyone can set the parameter, and an entry must not fail because of it.
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
    secret text[] := nullif(TG_ARGV[3], '')::text[];
    hidden_pks text[];
    hidden_keys text[];
    pairs text;
    statement text;
    undone bigint[] := CASE
        WHEN current_setting('flagstaff.undoes', true) ~ '^\[[1-9][0-9]{0,17}(, [1-9][0-9]{0,17})*\]$'
        THEN translate(current_setting('flagstaff.undoes', true), '[]', '{}')::bigint[]
    END;
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
    IF secret IS NOT NULL AND TG_OP IN ('INSERT', 'UPDATE') AND EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = TG_RELID AND attname = 'secret' AND atttypid = 'bool'::regtype
    ) THEN
        -- Not from the rows as JSON: a column that has none must not fail the change. Of a value
        -- whose pk has changed, which old row was it is not known: then it may be any.
        EXECUTE format(
            CASE TG_OP
                WHEN 'INSERT' THEN
                    'SELECT array_agg(n.%1$I::text), array_agg(n.%2$I::text)
                    FROM new_rows AS n WHERE n.secret'
                ELSE
                    'WITH now_secret AS (
                        SELECT n.%1$I::text AS pk, n.%2$I::text AS key
                        FROM new_rows AS n LEFT JOIN old_rows AS o ON o.%1$I::text = n.%1$I::text
                        WHERE n.secret AND o.secret IS NOT TRUE
                    ), concerned AS (
                        TABLE now_secret
                        UNION ALL
                        SELECT o.%1$I::text, o.%2$I::text
                        FROM old_rows AS o JOIN now_secret ON now_secret.pk = o.%1$I::text
                        UNION ALL
                        SELECT o.%1$I::text, o.%2$I::text
                        FROM old_rows AS o LEFT JOIN new_rows AS n ON o.%1$I::text = n.%1$I::text
                        WHERE n.%1$I IS NULL AND EXISTS (SELECT FROM now_secret)
                    )
                    SELECT array_agg(pk), array_agg(key) FROM concerned'
            END,
            TG_ARGV[1], TG_ARGV[2]
        ) INTO hidden_pks, hidden_keys;
        -- Without its table the history holds nothing of a new value.
        IF hidden_pks IS NOT NULL
            AND (TG_OP = 'UPDATE' OR to_regclass($name${change_table}$name$) IS NOT NULL)
        THEN
            -- By key too: it may have been deleted and created again, or its pk changed.
            EXECUTE $query$
                UPDATE {change_table} SET
                    old = old - $2,
                    new = new - $2,
                    hidden = {schema}.flagstaff_hidden_v1(old, new, $2)
                WHERE relation = $1::"char" AND (object_pk = ANY ($3) OR key = ANY ($5))
                    AND object_table = $4::regclass
                    AND (old ?| $2 OR new ?| $2)
            $query$ USING TG_ARGV[0], secret, hidden_pks, TG_RELID, hidden_keys;
            -- Under its earlier keys, too; but not the action that makes it secret, which has no value.
            -- Without their table, nothing waits.
            IF to_regclass($name${waiting_table}$name$) IS NOT NULL THEN
                EXECUTE $query$
                    UPDATE {waiting_table} SET
                        arguments = '{}',
                        result = 'the value has become secret',
                        state = CASE WHEN ended_at IS NULL THEN 'cancelled' ELSE state END,
                        ended_by = CASE
                            WHEN ended_at IS NULL
                                THEN coalesce(current_setting('flagstaff.actor', true), '')
                            ELSE ended_by
                        END,
                        ended_at = coalesce(ended_at, now())
                    WHERE row_kind = 'value'
                        AND keys ?| ($3 || ARRAY(
                            SELECT DISTINCT key FROM {change_table}
                            WHERE relation = $1::"char" AND object_pk = ANY ($2)
                                AND object_table = $4::regclass
                        ))
                        AND 'waiting ' || id IS DISTINCT FROM current_setting('flagstaff.source', true)
                $query$ USING TG_ARGV[0], hidden_pks, hidden_keys, TG_RELID;
            END IF;
        END IF;
    END IF;
    statement :=
        $query$
            INSERT INTO {change_table}
                (object_table, relation, object_pk, key, action, undoes, old, new, hidden)
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
                undone.ids,
                CASE WHEN is_secret THEN old - $4 ELSE old END,
                CASE WHEN is_secret THEN new - $4 ELSE new END,
                CASE WHEN is_secret THEN {schema}.flagstaff_hidden_v1(old, new, $4) END
            FROM (%s) AS pair (old, new)
            CROSS JOIN LATERAL (
                SELECT $4 IS NOT NULL AND (
                    'true' IN (coalesce(old ->> 'secret', ''), coalesce(new ->> 'secret', ''))
                    OR coalesce(new, old) ->> $2 = ANY ($8)
                )
            ) AS value (is_secret)
            LEFT JOIN (
                SELECT object_pk, jsonb_agg(id ORDER BY id DESC)
                FROM {change_table} WHERE id = ANY ($9) AND object_table = $7::regclass
                GROUP BY object_pk
            ) AS undone (pk, ids) ON undone.pk = coalesce(new, old) ->> $2
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
            USING TG_ARGV[0], TG_ARGV[1], TG_ARGV[2], secret, TG_ARGV[4:], TG_OP, TG_RELID,
                hidden_pks, undone;
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
    undone bigint[] := CASE
        WHEN current_setting('flagstaff.undoes', true) ~ '^\[[1-9][0-9]{0,17}(, [1-9][0-9]{0,17})*\]$'
        THEN translate(current_setting('flagstaff.undoes', true), '[]', '{}')::bigint[]
    END;
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
                (object_table, relation, object_pk, key, action, undoes, old, new)
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
                undone.ids,
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
            LEFT JOIN (
                SELECT object_pk, jsonb_agg(id ORDER BY id DESC)
                FROM {change_table} WHERE id = ANY ($4) AND object_table = $3::regclass
                GROUP BY object_pk
            ) AS undone (pk, ids) ON undone.pk = entry.flag::text
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
            ) USING TG_ARGV[0], TG_OP, TG_ARGV[3], undone;
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
