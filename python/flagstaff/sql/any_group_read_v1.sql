-- Whether a row reads any group. A part of group_triggers_v1, with the condition of the index
-- (group_index_v1).
EXISTS (
    SELECT FROM {table}
    WHERE {document}::text ~~ '%"attribute": "groups"%'
)
