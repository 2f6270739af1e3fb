-- Writes a token, notifies the workers, and at every 64th token deletes some old ones.
-- The notification contains the oid of the token table, because other projects in this database use
-- the same channel.
-- Pruning never fails the caller. A SERIALIZABLE transaction does not prune: one that reads tokens
-- would abort others that write some.
CREATE OR REPLACE FUNCTION {schema}.flagstaff_write_token_v1(of_relation "char", of_pks text[])
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    token bigint;
    row_id tid;
    table_id oid;
BEGIN
    INSERT INTO {token_table} (relation, pks, entry_missing)
    VALUES (
        of_relation,
        of_pks,
        coalesce(current_setting('flagstaff.entry_missing', true) = 'true', false)
    )
    RETURNING id, ctid, tableoid INTO token, row_id, table_id;
    PERFORM pg_notify('flagstaff_v1', table_id::text);
    IF token % 64 = 0 AND current_setting('transaction_isolation') <> 'serializable' THEN
        BEGIN
            -- By ctid, because ids may repeat. SKIP LOCKED, so that writers do not wait here. The newest
            -- token of each relation stays: one that came and went between two loads would be missed.
            WITH pruned AS (
                DELETE FROM {token_table} WHERE ctid = ANY (ARRAY(
                    SELECT ctid FROM {token_table}
                    WHERE id < token - 1000
                        AND id <> ALL (ARRAY(SELECT max(id) FROM {token_table} GROUP BY relation))
                    ORDER BY id LIMIT 256 FOR UPDATE SKIP LOCKED
                ))
                RETURNING relation, id, nonce, xact
            ), sums AS (
                SELECT concat_ws(' ', relation, count(*), sum(id), sum(nonce)) AS item
                FROM pruned GROUP BY relation
            )
            UPDATE {token_table} SET
                removed = ARRAY(SELECT item FROM sums),
                removed_xact = (SELECT max(xact::text::numeric)::text::xid8 FROM pruned)
            WHERE ctid = row_id AND EXISTS (SELECT FROM sums);
        EXCEPTION WHEN OTHERS THEN
            -- Under REPEATABLE READ, another transaction may have pruned some. The next one prunes more.
            NULL;
        END;
    END IF;
    RETURN token;
END
$function$;
REVOKE EXECUTE ON FUNCTION {schema}.flagstaff_write_token_v1("char", text[]) FROM PUBLIC;

-- The token trigger of a watched table. Its arguments are the relation and the columns of the primary
-- key, or of the pair that identifies a row. Without columns, or if the keys cannot be read, the token
-- stands for any row. If the token cannot be written, the change fails, because workers would not see
-- it.
-- The history triggers of a statement fire before its token trigger, because triggers fire in the
-- order of their names. If one could not write its entries, it has stored the oid of its table in a
-- parameter of the transaction. The token then has entry_missing.
CREATE OR REPLACE FUNCTION {schema}.flagstaff_token_v1() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    missing_in text[] := string_to_array(current_setting('flagstaff.missing_in', true), ' ');
    collect text;
    found_pks text[];
    former_pks text[];
BEGIN
    IF TG_NARGS > 1 AND TG_OP <> 'TRUNCATE' THEN
        collect := CASE TG_OP
            WHEN 'INSERT' THEN 'SELECT ARRAY(SELECT %1$s FROM new_rows LIMIT 65), NULL'
            WHEN 'DELETE' THEN 'SELECT ARRAY(SELECT %1$s FROM old_rows LIMIT 65), NULL'
            ELSE 'SELECT ARRAY(SELECT %1$s FROM new_rows LIMIT 65), '
                'ARRAY(SELECT %1$s FROM old_rows LIMIT 65)'
        END;
        BEGIN
            EXECUTE format(collect, CASE TG_NARGS
                WHEN 2 THEN format('%I::text', TG_ARGV[1])
                ELSE format('ARRAY[%I::text, %I::text]', TG_ARGV[1], TG_ARGV[2])
            END) INTO found_pks, former_pks;
            -- Both are in the order of the update, so they are equal unless a key has changed.
            IF found_pks <> former_pks THEN
                found_pks := found_pks || former_pks;
            END IF;
            -- Other texts may have none in the client's encoding.
            IF array_length(found_pks, 1) > 64 OR EXISTS (
                SELECT FROM unnest(found_pks) AS part
                WHERE (part COLLATE "C" ~ '^[ -~]{0,100}$') IS NOT TRUE
            ) THEN
                found_pks := NULL;
            END IF;
        EXCEPTION WHEN OTHERS THEN
            found_pks := NULL;
        END;
    END IF;
    IF TG_RELID::text = ANY (missing_in) THEN
        missing_in := array_remove(missing_in, TG_RELID::text);
        PERFORM set_config('flagstaff.missing_in', array_to_string(missing_in, ' '), true);
        PERFORM set_config('flagstaff.entry_missing', 'true', true);
        PERFORM {schema}.flagstaff_write_token_v1(TG_ARGV[0]::"char", found_pks);
        PERFORM set_config('flagstaff.entry_missing', '', true);
    ELSIF found_pks = '{}' AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = TG_RELID) THEN
        -- No row has changed. With partitions, rows may have moved.
        RETURN NULL;
    ELSE
        PERFORM {schema}.flagstaff_write_token_v1(TG_ARGV[0]::"char", nullif(found_pks, '{}'));
    END IF;
    RETURN NULL;
END
$function$;
REVOKE EXECUTE ON FUNCTION {schema}.flagstaff_token_v1() FROM PUBLIC;

-- Notifies the workers of a subscriber of a token that has arrived there by logical replication, which
-- fires no statement triggers. It fires only in sessions that replicate or restore.
CREATE OR REPLACE FUNCTION {schema}.flagstaff_arrived_v1() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    PERFORM pg_notify('flagstaff_v1', TG_RELID::text);
    RETURN NULL;
END
$function$;
REVOKE EXECUTE ON FUNCTION {schema}.flagstaff_arrived_v1() FROM PUBLIC;

CREATE OR REPLACE TRIGGER flagstaff_arrived_v1
AFTER INSERT ON {token_table} FOR EACH ROW EXECUTE FUNCTION {schema}.flagstaff_arrived_v1();

ALTER TABLE {token_table} ENABLE REPLICA TRIGGER flagstaff_arrived_v1;
