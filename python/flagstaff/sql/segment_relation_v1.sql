-- Allows tokens and entries about segments. Older versions of the constraints do not.
-- The history comes first, as in the triggers of a change: the other order could deadlock with one.
-- NOT VALID, because a scan of all entries would lock them for as long; older rows are valid.
-- flagstaff_change_relation_check and flagstaff_token_relation_check are PostgreSQL's own names for
-- the constraints of history_v1 and tokens_v1.
ALTER TABLE {change_table}
    DROP CONSTRAINT IF EXISTS flagstaff_change_relation_check,
    ADD CONSTRAINT flagstaff_change_relation_check
        CHECK (relation IN ('f', 'm', 'k', 's')) NOT VALID;
ALTER TABLE {token_table}
    DROP CONSTRAINT IF EXISTS flagstaff_token_relation_check,
    ADD CONSTRAINT flagstaff_token_relation_check
        CHECK (relation IN ('f', 'm', 'k', 's', 'b')) NOT VALID;
