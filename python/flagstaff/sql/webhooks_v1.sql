-- The tables of the webhooks. A change of a flag writes nothing here: deliveries are queued from
-- the history.

-- How far each receiver has read the history. Everything committed at that point is queued or sent.
CREATE TABLE IF NOT EXISTS {receiver_table} (
    name text PRIMARY KEY,
    -- The highest id in the history at that point, and the transactions that were open.
    last_entry_id bigint NOT NULL,
    open_transactions bigint[] NOT NULL,
    -- Entries present then that carry the number of an open transaction. After a restore, another
    -- server may have given the number to another transaction.
    excluded_entry_ids bigint[] NOT NULL,
    -- When that was.
    read_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    -- How many attempts in a row could not reach the receiver, and the end of the pause after them.
    consecutive_failures integer NOT NULL DEFAULT 0,
    paused_until timestamptz
);

-- The queue: one event per row, by the ids of its entries. The message is created when it is sent,
-- so that no personal data is stored twice.
CREATE TABLE IF NOT EXISTS {delivery_table} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    receiver text NOT NULL,
    -- Of the row: a flag, a value or a segment, as in the history. Allowed users are part of the flag.
    relation text NOT NULL,
    object_pk text NOT NULL,
    key text NOT NULL,
    entry_ids bigint[] NOT NULL,
    queued_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    -- Until then one run has the delivery to itself.
    claim_expires_at timestamptz,
    -- When the delivery was given up.
    failed_at timestamptz,
    last_error text
);
CREATE INDEX IF NOT EXISTS flagstaff_delivery_object
    ON {delivery_table} (receiver, relation, object_pk, id);
CREATE INDEX IF NOT EXISTS flagstaff_delivery_key ON {delivery_table} (receiver, relation, key, id);
