-- Whether a row reads one of the groups of a change. A part of group_triggers_v1, with the condition
-- and the expression of the index (group_index_v1).
EXISTS (
    SELECT FROM {table}
    WHERE {document}::text ~~ '%"attribute": "groups"%'
        AND ({references}) ?| concerned_names
)
