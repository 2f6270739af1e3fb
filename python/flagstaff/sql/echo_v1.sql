-- The newest echo that has arrived here. No row without one.
SELECT number, due_within FROM {echo_table} ORDER BY number DESC LIMIT 1
