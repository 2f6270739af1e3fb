-- The newest echo that has arrived here. No row without one. A worker that met this database without its
-- subscription has left a row of its own, and that may have the higher number.
SELECT number, due_within FROM {echo_table} ORDER BY at DESC LIMIT 1
