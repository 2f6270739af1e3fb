-- The types of columns of a subquery. Reads none of its rows.
SELECT {types}
FROM (SELECT) AS single
LEFT JOIN (SELECT * FROM {rows} LIMIT 0) AS typed ON true
