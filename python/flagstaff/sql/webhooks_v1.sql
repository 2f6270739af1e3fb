-- Who is told of changes. The history is the outbox: nothing is written here when a flag changes.

-- How far a receiver is: what was committed at one moment it has been given, or has waiting.
CREATE TABLE IF NOT EXISTS {receiver_table} (
    name text PRIMARY KEY,
    -- The highest id in the history at that moment, and the transactions that were open.
    newest bigint NOT NULL,
    open_then bigint[] NOT NULL,
    -- Entries that were there and have the number of such a transaction: another server has given it
    -- to another one, before a restore.
    known bigint[] NOT NULL,
    -- How often in a row it did not answer, and until when it is left alone for that.
    failures integer NOT NULL DEFAULT 0,
    paused_until timestamptz
);

-- What a receiver has yet to be told: one event each, by its entries in the history. What is told of
-- them is made when it is sent, so that no person's data is kept twice.
CREATE TABLE IF NOT EXISTS {delivery_table} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    receiver text NOT NULL,
    is_value boolean NOT NULL,
    object_pk text NOT NULL,
    key text NOT NULL,
    entries bigint[] NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    -- Until then somebody is at it.
    claimed_until timestamptz,
    -- When it was given up.
    failed_at timestamptz,
    error text,
    impact jsonb
);
CREATE INDEX IF NOT EXISTS flagstaff_delivery_object
    ON {delivery_table} (receiver, is_value, object_pk, id);
CREATE INDEX IF NOT EXISTS flagstaff_delivery_key ON {delivery_table} (receiver, is_value, key, id);
-- For the changes of a transaction that was open at the look before.
CREATE INDEX IF NOT EXISTS flagstaff_change_transaction ON {change_table} (transaction_id);
