-- What the set of visible tokens looks like, per source. Compared for equality only.
SELECT
    src::text AS src,
    max(id) AS newest,
    concat_ws('/', count(*), sum(id), max(id), sum(nonce)) AS sums
FROM {token_table}
GROUP BY src
