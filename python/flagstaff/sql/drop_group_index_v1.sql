-- Reverses group_index_v1.
DROP INDEX IF EXISTS {index_schema}.{index};
