-- Finds recent changes of one actor, of a time, and creations and deletions among many changes.
CREATE INDEX IF NOT EXISTS flagstaff_change_actor ON {change_table} (actor, id)
    WHERE actor IS NOT NULL;
-- Changes without an actor are searched by what else is known about them.
CREATE INDEX IF NOT EXISTS flagstaff_change_user ON {change_table} ("session_user", id)
    WHERE actor IS NULL;
CREATE INDEX IF NOT EXISTS flagstaff_change_source ON {change_table} (source, id)
    WHERE actor IS NULL;
-- Which events of a row were undone.
CREATE INDEX IF NOT EXISTS flagstaff_change_undoes ON {change_table} (object_pk, id)
    WHERE undoes IS NOT NULL;
CREATE INDEX IF NOT EXISTS flagstaff_change_at ON {change_table} (at);
CREATE INDEX IF NOT EXISTS flagstaff_change_action ON {change_table} (action, id)
    WHERE relation OPERATOR(pg_catalog.<>) 'm' AND action OPERATOR(pg_catalog.<>) 'update';
-- What else a transaction changed, and for webhooks, what those changed that were open at the last
-- read.
CREATE INDEX IF NOT EXISTS flagstaff_change_transaction ON {change_table} (transaction_id);
-- Since when a flag gives all users the same result, and has its key. stale_entries_v1 has the same
-- conditions, with the columns of the project's own model: where these have other names, it reads
-- all entries of the flag.
CREATE INDEX IF NOT EXISTS flagstaff_change_state ON {change_table} (object_pk, id)
    WHERE relation OPERATOR(pg_catalog.=) 'f' AND (
        action OPERATOR(pg_catalog.<>) 'update'
        OR old OPERATOR(pg_catalog.->>) 'enabled' IS NULL
        OR new OPERATOR(pg_catalog.->>) 'enabled' IS NULL
        OR old OPERATOR(pg_catalog.->>) 'rollout_percent' IS NULL
        OR new OPERATOR(pg_catalog.->>) 'rollout_percent' IS NULL
        OR (
            (
                (old OPERATOR(pg_catalog.->>) 'enabled') OPERATOR(pg_catalog.=) 'true'
                OR (new OPERATOR(pg_catalog.->>) 'enabled') OPERATOR(pg_catalog.=) 'true'
            ) AND (
                (old OPERATOR(pg_catalog.->>) 'enabled')
                    OPERATOR(pg_catalog.<>) (new OPERATOR(pg_catalog.->>) 'enabled')
                OR (old OPERATOR(pg_catalog.->>) 'rollout_percent')
                    OPERATOR(pg_catalog.<>) (new OPERATOR(pg_catalog.->>) 'rollout_percent')
                OR coalesce(old OPERATOR(pg_catalog.->>) 'rules', '')
                    OPERATOR(pg_catalog.<>) coalesce(new OPERATOR(pg_catalog.->>) 'rules', '')
            )
        )
    );
CREATE INDEX IF NOT EXISTS flagstaff_change_named ON {change_table} (object_pk, id)
    WHERE relation OPERATOR(pg_catalog.=) 'f' AND (
        old OPERATOR(pg_catalog.->>) 'key' IS NULL
        OR (old OPERATOR(pg_catalog.->>) 'key') OPERATOR(pg_catalog.<>) key
    );
