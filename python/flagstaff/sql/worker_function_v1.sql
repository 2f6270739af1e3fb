-- Writes the row of the worker that knows the secret, or deletes it at the worker's end. It can be
-- granted to a role that may only read: without its secret, no row of another worker can be written.
-- A caller can add false rows, of which each only speaks for itself and for the caller's own session.
-- The commit does not wait for the disk: a row that is lost in a crash is written again.
-- It also changes the echo, unless that was changed within 15 s. A worker that reports rarely leaves this
-- to others that report more often. At the end of a worker, the echo announces the next report of the
-- others. On a subscriber, the echo is that of the publisher, and is not changed here.
CREATE OR REPLACE FUNCTION {schema}.flagstaff_worker_v1(
    secret text, of_host text, of_pid bigint, of_rule_format bigint, of_mode text,
    of_token bigint, of_nonce bigint, is_pooled boolean, seconds double precision,
    of_region text DEFAULT '', is_copy boolean DEFAULT false,
    of_system text DEFAULT '', of_timeline bigint DEFAULT 0
) RETURNS void
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
AS $function$
DECLARE
    own text := encode(sha256(convert_to(secret, 'UTF8')), 'hex');
    backend integer := CASE WHEN NOT is_pooled THEN pg_backend_pid() END;
    moment timestamptz := clock_timestamp();
    expected_for double precision := least(greatest(seconds, 30), 86400);
    until timestamptz := moment + make_interval(secs => expected_for);
    -- A worker behind replication reports more than twice in the time for which it is expected.
    next_in double precision := expected_for * CASE WHEN is_copy THEN 0.45 ELSE 1 END;
    has_ended boolean := of_mode = 'ended';
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    IF has_ended THEN
        DELETE FROM {worker_table} WHERE worker = own;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        next_in := (
            SELECT min(
                extract(EPOCH FROM expected_by - seen_at)
                * CASE WHEN is_replicated THEN 0.45 ELSE 1 END
            )
            FROM {worker_table} WHERE expected_by >= moment
        );
    ELSE
        IF NOT EXISTS (
            SELECT FROM {worker_table} WHERE worker = own AND session IS NOT DISTINCT FROM backend
        ) THEN
            -- Workers that had this backend's process id before may be about to connect again, so they
            -- stay expected for their time. No session has the process id 0.
            UPDATE {worker_table} SET session = 0 WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM {worker_table} WHERE worker <> own AND session = backend
                FOR UPDATE SKIP LOCKED
            ));
            -- Workers that were lost.
            DELETE FROM {worker_table} WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM {worker_table}
                WHERE worker <> own
                    AND expected_by < moment - make_interval(
                        hours => CASE WHEN is_replicated THEN 24 ELSE 1 END
                    )
                FOR UPDATE SKIP LOCKED
            ));
            IF (SELECT count(*) FROM {worker_table}) >= 20000 THEN
                RAISE EXCEPTION 'flagstaff: flagstaff_worker has 20,000 rows, and takes no more'
                    USING ERRCODE = 'program_limit_exceeded';
            END IF;
        END IF;
        INSERT INTO {worker_table} AS w VALUES (
            own, left(of_host, 255), of_pid, of_rule_format, of_mode, of_token, of_nonce,
            quote_ident(session_user)::regrole::oid, backend, moment, moment, until,
            left(of_region, 255), is_copy, left(of_system, 255), of_timeline
        )
        ON CONFLICT (worker) DO UPDATE SET
            mode = excluded.mode, token = excluded.token, nonce = excluded.nonce, role = excluded.role,
            session = excluded.session, seen_at = excluded.seen_at, expected_by = excluded.expected_by,
            region = excluded.region, is_replicated = excluded.is_replicated,
            system = excluded.system, timeline = excluded.timeline;
    END IF;
    IF EXISTS (
        SELECT FROM pg_subscription_rel WHERE srrelid = $name${echo_table}$name$::regclass
    ) THEN
        RETURN;
    END IF;
    -- SKIP LOCKED, so that workers do not wait for each other. The clock may have been set back.
    UPDATE {echo_table} SET number = number + 1, at = moment, due_within = next_in
    WHERE ctid = (
        SELECT ctid FROM {echo_table} ORDER BY number DESC LIMIT 1 FOR UPDATE SKIP LOCKED
    ) AND (
        has_ended OR due_within IS NULL OR at > moment
        OR at < moment - make_interval(secs => due_within)
        OR (at < moment - interval '15 seconds' AND next_in <= due_within)
    );
    IF NOT FOUND AND NOT has_ended AND NOT EXISTS (SELECT FROM {echo_table}) THEN
        INSERT INTO {echo_table} VALUES (1, moment, next_in);
    END IF;
END
$function$;
REVOKE EXECUTE ON FUNCTION {schema}.flagstaff_worker_v1(
    text, text, bigint, bigint, text, bigint, bigint, boolean, double precision, text, boolean, text,
    bigint
) FROM PUBLIC;
