//! What new tokens say about a table: nothing changed, only some rows did, or any row may have.

use flagstaff::token_set::changes::{Change, MAX_KEYS, NewToken};
use flagstaff::token_set::{Relation, TokenSet};

/// A token: its relation, its id and its nonce.
type Token = (&'static str, i64, i64);

const FIRST: Token = ("f", 1, 500);
const SECOND: Token = ("f", 2, -70);
const VALUE: Token = ("k", 3, 900);
const NEW: Token = ("f", 64, 11);
const BARRIER: Token = ("b", 128, 12);

/// `COUNT IDS NONCES` of these tokens.
fn sums(tokens: &[Token]) -> String {
    let ids: i64 = tokens.iter().map(|token| token.1).sum();
    let nonces: i64 = tokens.iter().map(|token| token.2).sum();
    format!("{} {ids} {nonces}", tokens.len())
}

/// The tokens of each relation.
fn by_relation(tokens: &[Token]) -> Vec<(&'static str, Vec<Token>)> {
    let mut relations: Vec<_> = tokens.iter().map(|token| token.0).collect();
    relations.sort_unstable();
    relations.dedup();
    let of = |relation| tokens.iter().copied().filter(|token| token.0 == relation).collect();
    relations.into_iter().map(|relation| (relation, of(relation))).collect()
}

/// The token table with these tokens.
fn table(tokens: &[Token]) -> TokenSet {
    let mut token_set = TokenSet::default();
    for (relation, tokens) in by_relation(tokens) {
        token_set.add(relation, tokens[0].1, &sums(&tokens));
    }
    token_set
}

/// A new token that names these rows, and has pruned these tokens.
fn pruning(token: Token, keys: &[&str], pruned: &[Token]) -> NewToken {
    let removed = by_relation(pruned);
    let removed: Vec<_> = removed.iter().map(|(of, them)| format!("{of} {}", sums(them))).collect();
    let keys = keys.iter().map(|key| (*key).into()).collect();
    let removed = removed.iter().map(String::as_str);
    NewToken::parse(token.0, &sums(&[token]), Some(keys), removed).expect("well formed")
}

/// A new token that names these rows.
fn naming(token: Token, keys: &[&str]) -> NewToken {
    pruning(token, keys, &[])
}

/// A new token that names no rows, as of TRUNCATE.
fn nameless(token: Token) -> NewToken {
    NewToken::parse(token.0, &sums(&[token]), None, []).expect("well formed")
}

/// What has changed in the flags' table.
fn change(before: &[Token], now: &[Token], new: &[NewToken]) -> Change {
    table(now).change(&table(before), Some(new), Relation::FLAGS)
}

fn rows(keys: &[&str]) -> Change {
    Change::Rows(keys.iter().map(|key| (*key).into()).collect())
}

mod proved {
    use super::*;

    #[test]
    fn same_tokens_change_nothing_even_if_the_new_ones_are_unknown() {
        let now = table(&[FIRST, VALUE]);
        assert_eq!(now.change(&now, None, Relation::FLAGS), Change::Nothing);
        assert_eq!(now.change(&now, Some(&[]), Relation::FLAGS), Change::Nothing);
        assert_eq!(change(&[], &[], &[]), Change::Nothing);
    }

    #[test]
    fn new_token_changes_the_rows_that_it_names() {
        let new = [naming(NEW, &["7", "8"])];
        assert_eq!(change(&[FIRST], &[FIRST, NEW], &new), rows(&["7", "8"]));
        // Also the first one of the table.
        assert_eq!(change(&[], &[NEW], &new), rows(&["7", "8"]));
    }

    #[test]
    fn new_tokens_change_the_rows_that_any_of_them_names() {
        let new = [naming(SECOND, &["7"]), naming(NEW, &["8", "7"])];
        assert_eq!(change(&[FIRST], &[FIRST, SECOND, NEW], &new), rows(&["7", "8", "7"]));
    }

    #[test]
    fn new_token_changes_its_own_relation_only() {
        let (before, now) = (table(&[FIRST, VALUE]), table(&[FIRST, NEW, VALUE]));
        let new = [naming(NEW, &["7"])];
        let change = |relation| now.change(&before, Some(&new), relation);
        assert_eq!(change(Relation::FLAGS), rows(&["7"]));
        assert_eq!(change(Relation::VALUES), Change::Nothing);
        assert_eq!(change(Relation::SEGMENTS), Change::Nothing);
    }

    #[test]
    fn each_relation_gets_the_rows_of_its_own_tokens() {
        let (before, now) = (table(&[FIRST]), table(&[FIRST, NEW, VALUE]));
        let new = [naming(VALUE, &["1"]), naming(NEW, &["7"])];
        assert_eq!(now.change(&before, Some(&new), Relation::FLAGS), rows(&["7"]));
        assert_eq!(now.change(&before, Some(&new), Relation::VALUES), rows(&["1"]));
    }

    #[test]
    fn token_without_keys_does_not_affect_another_relation() {
        let new = [nameless(VALUE), naming(NEW, &["7"])];
        assert_eq!(change(&[FIRST], &[FIRST, NEW, VALUE], &new), rows(&["7"]));
    }

    #[test]
    fn late_commit_with_an_older_id_changes_the_rows_that_it_names() {
        let new = [naming(FIRST, &["7"])];
        assert_eq!(change(&[NEW], &[FIRST, NEW], &new), rows(&["7"]));
    }

    #[test]
    fn token_that_names_zero_rows_changes_nothing() {
        assert_eq!(change(&[FIRST], &[FIRST, NEW], &[naming(NEW, &[])]), Change::Nothing);
    }

    #[test]
    fn token_of_a_relation_of_a_newer_version_does_not_matter() {
        let newer = ("x", 65, 13);
        let new = [nameless(newer), naming(NEW, &["7"])];
        assert_eq!(change(&[FIRST], &[FIRST, NEW, newer], &new), rows(&["7"]));
    }

    #[test]
    fn up_to_256_keys_are_rows_and_more_are_the_table() {
        let keys: Vec<_> = (0..=MAX_KEYS).map(|key| key.to_string()).collect();
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        let change = |count: usize| {
            let (some, others) = keys[..count].split_at(100);
            let new = [naming(SECOND, some), naming(NEW, others)];
            change(&[FIRST], &[FIRST, SECOND, NEW], &new)
        };
        assert_eq!(change(MAX_KEYS), rows(&keys[..MAX_KEYS]));
        assert_eq!((MAX_KEYS, change(MAX_KEYS + 1)), (256, Change::Table));
    }
}

mod pruned {
    use super::*;

    #[test]
    fn token_that_pruned_others_of_its_relation_changes_the_rows_that_it_names() {
        let new = [pruning(NEW, &["7"], &[FIRST, SECOND])];
        assert_eq!(change(&[FIRST, SECOND], &[NEW], &new), rows(&["7"]));
    }

    #[test]
    fn pruning_by_a_token_of_another_relation_changes_nothing() {
        let new = [pruning(BARRIER, &[], &[FIRST, VALUE])];
        let (before, now) = (table(&[FIRST, SECOND, VALUE]), table(&[SECOND, BARRIER]));
        assert_eq!(now.change(&before, Some(&new), Relation::FLAGS), Change::Nothing);
        assert_eq!(now.change(&before, Some(&new), Relation::VALUES), Change::Nothing);
    }

    #[test]
    fn tokens_that_several_tokens_pruned_are_summed() {
        let new = [pruning(NEW, &["7"], &[FIRST]), pruning(BARRIER, &[], &[SECOND, VALUE])];
        assert_eq!(change(&[FIRST, SECOND, VALUE], &[NEW, BARRIER], &new), rows(&["7"]));
    }

    #[test]
    fn pruning_of_all_tokens_changes_nothing() {
        let new = [pruning(BARRIER, &[], &[FIRST])];
        assert_eq!(change(&[FIRST], &[BARRIER], &new), Change::Nothing);
    }

    #[test]
    fn pruning_that_no_token_records_is_the_table() {
        assert_eq!(change(&[FIRST, SECOND], &[SECOND], &[]), Change::Table);
        let new = [naming(NEW, &["7"])];
        assert_eq!(change(&[FIRST, SECOND], &[SECOND, NEW], &new), Change::Table);
    }

    #[test]
    fn pruning_of_another_relation_does_not_explain_a_missing_token() {
        let same_sums = ("k", FIRST.1, FIRST.2);
        let new = [pruning(NEW, &["7"], &[same_sums])];
        assert_eq!(change(&[FIRST], &[NEW], &new), Change::Table);
    }

    #[test]
    fn pruning_of_a_token_that_was_added_since_is_the_table() {
        let new = [pruning(NEW, &["7"], &[SECOND])];
        assert_eq!(change(&[FIRST], &[FIRST, NEW], &new), Change::Table);
    }

    #[test]
    fn token_that_was_added_and_pruned_since_is_the_table_although_the_sums_are_the_same() {
        assert_eq!(change(&[], &[], &[pruning(BARRIER, &[], &[NEW])]), Change::Table);
        let late = [pruning(BARRIER, &[], &[FIRST])];
        assert_eq!(change(&[NEW], &[NEW], &late), Change::Table);
        let values = table(&[]).change(&table(&[]), Some(&late), Relation::VALUES);
        assert_eq!(values, Change::Nothing);
    }

    #[test]
    fn recorded_pruning_of_a_token_that_is_still_there_is_the_table() {
        let new = [pruning(NEW, &["7"], &[FIRST])];
        assert_eq!(change(&[FIRST], &[FIRST, NEW], &new), Change::Table);
    }
}

mod not_proved {
    use super::*;

    #[test]
    fn unknown_new_tokens_are_the_table() {
        let now = table(&[FIRST, NEW]);
        assert_eq!(now.change(&table(&[FIRST]), None, Relation::FLAGS), Change::Table);
    }

    #[test]
    fn missing_token_is_the_table() {
        let new = [naming(NEW, &["7"])];
        assert_eq!(change(&[FIRST], &[FIRST, SECOND, NEW], &new), Change::Table);
        assert_eq!(change(&[FIRST], &[FIRST, NEW], &[]), Change::Table);
    }

    #[test]
    fn token_that_was_seen_before_is_the_table() {
        let new = [naming(SECOND, &["7"]), naming(NEW, &["8"])];
        assert_eq!(change(&[FIRST, SECOND], &[FIRST, SECOND, NEW], &new), Change::Table);
    }

    #[test]
    fn new_token_of_another_relation_explains_nothing() {
        let same_sums = ("k", NEW.1, NEW.2);
        assert_eq!(change(&[FIRST], &[FIRST, NEW], &[naming(same_sums, &["7"])]), Change::Table);
    }

    #[test]
    fn token_without_keys_is_the_table_also_beside_others() {
        assert_eq!(change(&[FIRST], &[FIRST, NEW], &[nameless(NEW)]), Change::Table);
        for new in
            [[naming(SECOND, &["7"]), nameless(NEW)], [nameless(SECOND), naming(NEW, &["7"])]]
        {
            assert_eq!(change(&[FIRST], &[FIRST, SECOND, NEW], &new), Change::Table);
        }
    }

    #[test]
    fn each_of_the_sums_must_be_that_of_now() {
        let new = [naming(NEW, &["7"])];
        let change = |sums: &str| {
            let mut now = TokenSet::default();
            now.add("f", NEW.1, sums);
            now.change(&table(&[FIRST]), Some(&new), Relation::FLAGS)
        };
        assert_eq!(change("2 65 511"), rows(&["7"]));
        for sums in ["3 65 511", "1 65 511", "2 66 511", "2 65 512"] {
            assert_eq!(change(sums), Change::Table, "{sums}");
        }
    }

    #[test]
    fn token_with_the_same_id_and_another_nonce_is_the_table() {
        let restored = ("f", FIRST.1, 1 + FIRST.2);
        assert_eq!(change(&[FIRST], &[restored], &[]), Change::Table);
        assert_eq!(change(&[FIRST], &[restored], &[naming(restored, &["7"])]), Change::Table);
    }

    #[test]
    fn sums_beyond_64_bits_are_added_exactly() {
        let (large, larger) = (("f", i64::MAX, i64::MIN), ("f", i64::MAX, i64::MIN));
        let mut now = TokenSet::default();
        let twice = format!("2 {} {}", 2 * i128::from(i64::MAX), 2 * i128::from(i64::MIN));
        now.add("f", i64::MAX, &twice);
        let change = now.change(&table(&[large]), Some(&[naming(larger, &["7"])]), Relation::FLAGS);
        assert_eq!(change, rows(&["7"]));
    }

    #[test]
    fn other_tables_are_the_table_whatever_the_tokens_say() {
        let before = table(&[FIRST]);
        let (mut same, mut more) = (before.clone(), table(&[FIRST, NEW]));
        same.set_tables(vec![7]);
        more.set_tables(vec![7]);
        let new = [naming(NEW, &["7"])];
        assert_eq!(same.change(&before, Some(&[]), Relation::FLAGS), Change::Table);
        assert_eq!(more.change(&before, Some(&new), Relation::FLAGS), Change::Table);
        let mut before = before;
        before.set_tables(vec![7]);
        assert_eq!(more.change(&before, Some(&new), Relation::FLAGS), rows(&["7"]));
    }
}

mod malformed {
    use super::*;

    const SUMS: [&str; 8] =
        ["", "1", "1 64", "1 64 11 1", "1 64 x", "x 64 11", "1  64 11", "1 64 1.5"];

    #[test]
    fn sums_that_cannot_be_read_are_the_table() {
        for sums in SUMS {
            let mut malformed = TokenSet::default();
            malformed.add("f", 64, sums);
            let (empty, new) = (TokenSet::default(), [naming(NEW, &["7"])]);
            for new in [&[][..], &new] {
                assert_eq!(malformed.change(&empty, Some(new), Relation::FLAGS), Change::Table);
                assert_eq!(empty.change(&malformed, Some(new), Relation::FLAGS), Change::Table);
            }
            // The sums of other relations do not matter.
            malformed.add("k", VALUE.1, &super::sums(&[VALUE]));
            let new = [naming(VALUE, &["1"])];
            assert_eq!(malformed.change(&empty, Some(&new), Relation::VALUES), rows(&["1"]));
        }
    }

    #[test]
    fn token_with_a_malformed_text_cannot_be_read() {
        let parse = |sums, removed: &[&'static str]| {
            NewToken::parse("f", sums, None, removed.iter().copied())
        };
        assert!(parse("1 64 11", &["f 2 3 430", "k 1 3 900"]).is_some());
        for sums in SUMS {
            assert_eq!(parse(sums, &[]), None, "{sums:?}");
        }
        for removed in ["", "f", "f 1", "f 1 2", "f 1 2 3 4", "f 1 2 x", "2 3 430"] {
            assert_eq!(parse("1 64 11", &["f 2 3 430", removed]), None, "{removed:?}");
        }
    }
}
