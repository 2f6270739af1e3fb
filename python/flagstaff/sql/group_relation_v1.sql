-- Allows tokens about groups of users, rollout plans and experiments. Older versions of the constraint do not.
-- NOT VALID, because a scan would lock the table for as long; older rows are valid.
ALTER TABLE {token_table}
    DROP CONSTRAINT IF EXISTS flagstaff_token_relation_check,
    ADD CONSTRAINT flagstaff_token_relation_check
        CHECK (relation IN ('f', 'm', 'k', 's', 'g', 'p', 'e', 'b')) NOT VALID;
