-- Usage: what was counted of each key, by hour. Times are those that Python can represent.
CREATE TABLE IF NOT EXISTS {usage_table} (
    -- The start of the hour; of the day for "bulk", "browsers" and "needed".
    hour timestamptz NOT NULL CHECK (hour BETWEEN '0001-01-02' AND '9000-01-01'),
    key text NOT NULL,
    -- "true" or "false" of a flag; "unknown": evaluated without a flag; the number of the rule that gave
    -- the result of a value, 0 for the value itself; "bulk" or "browsers": served in bulk with many
    -- other flags, which is no evaluation; "needed": read by a condition of another row; "report": a
    -- worker reports, with an empty key.
    result text NOT NULL,
    -- 0 for what has no count.
    count bigint NOT NULL,
    last_at timestamptz NOT NULL CHECK (last_at BETWEEN '0001-01-02' AND '9000-01-01'),
    PRIMARY KEY (key, result, hour)
);
CREATE INDEX IF NOT EXISTS flagstaff_usage_hour ON {usage_table} (hour);
