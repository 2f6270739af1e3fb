-- Webhooks. They are queued from the history: a change of a flag writes nothing here.

-- The position of each receiver: all changes that were committed at the last run are queued.
CREATE TABLE IF NOT EXISTS {receiver_table} (
    name text PRIMARY KEY,
    -- The highest id in the history at the last run, and the transactions that were open.
    last_entry bigint NOT NULL,
    open_transactions bigint[] NOT NULL,
    -- Entries with these transaction ids that existed already: after a restore, a server may use
    -- the ids of earlier transactions again.
    known_entries bigint[] NOT NULL,
    -- The number of consecutive failures, and the end of the pause that follows them.
    failures integer NOT NULL DEFAULT 0,
    paused_until timestamptz
);

-- The deliveries of each receiver: one event each, by its entries in the history. The message is
-- created when it is sent, so that personal data is not stored twice.
CREATE TABLE IF NOT EXISTS {delivery_table} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    receiver text NOT NULL,
    is_value boolean NOT NULL,
    object_pk text NOT NULL,
    key text NOT NULL,
    entries bigint[] NOT NULL,
    queued_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    -- Until this time another process is sending it.
    claimed_until timestamptz,
    -- When the last attempt failed.
    failed_at timestamptz,
    error text,
    impact jsonb
);
CREATE INDEX IF NOT EXISTS flagstaff_delivery_object
    ON {delivery_table} (receiver, is_value, object_pk, id);
CREATE INDEX IF NOT EXISTS flagstaff_delivery_key ON {delivery_table} (receiver, is_value, key, id);
-- For the entries of transactions that were open at the last run.
CREATE INDEX IF NOT EXISTS flagstaff_change_transaction ON {change_table} (transaction_id);
