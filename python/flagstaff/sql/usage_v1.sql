-- Usage: how often each flag was evaluated, by hour. Times are those that Python can represent.
CREATE TABLE IF NOT EXISTS {usage_table} (
    hour timestamptz NOT NULL CHECK (hour BETWEEN '0001-01-02' AND '9000-01-01'),
    key text NOT NULL,
    -- Whether a flag with this key existed.
    defined boolean NOT NULL,
    false_count bigint NOT NULL,
    true_count bigint NOT NULL,
    last_evaluated_at timestamptz NOT NULL
        CHECK (last_evaluated_at BETWEEN '0001-01-02' AND '9000-01-01'),
    PRIMARY KEY (hour, key, defined)
);
CREATE INDEX IF NOT EXISTS flagstaff_usage_key ON {usage_table} (key, hour);

-- How often each result of a value with rules was returned, by hour.
CREATE TABLE IF NOT EXISTS {value_usage_table} (
    hour timestamptz NOT NULL CHECK (hour BETWEEN '0001-01-02' AND '9000-01-01'),
    key text NOT NULL,
    -- The number of the rule that gave it then, 0 for the value itself.
    result smallint NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (hour, key, result)
);
CREATE INDEX IF NOT EXISTS flagstaff_value_usage_key ON {value_usage_table} (key, hour);

-- When each flag was last served with many others: bulk results are no evaluations, and have no
-- counts. Times are exact to an hour, because a worker serves all flags at once.
CREATE TABLE IF NOT EXISTS {bulk_usage_table} (
    key text PRIMARY KEY,
    -- By `all_flags()`, which has all flags. The code may use some of them, or none.
    served_in_bulk_at timestamptz CHECK (served_in_bulk_at BETWEEN '0001-01-02' AND '9000-01-01'),
    -- By `all_flags(client_side=True)`.
    served_to_browsers_at timestamptz
        CHECK (served_to_browsers_at BETWEEN '0001-01-02' AND '9000-01-01')
);
