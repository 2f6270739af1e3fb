//! What changed between two states of the token table.

use flagstaff::token_set::{Relation, TokenSet};

const ALL: [Relation; 3] = [Relation::FLAGS, Relation::ALLOWED_USERS, Relation::VALUES];

fn of(rows: &[(&str, i64, &str)]) -> TokenSet {
    let mut token_set = TokenSet::default();
    for (relation, newest, sums) in rows {
        token_set.add(relation, *newest, sums);
    }
    token_set
}

fn changed(now: &TokenSet, before: &TokenSet) -> [bool; 3] {
    ALL.map(|relation| now.changed(before, relation))
}

#[test]
fn token_of_one_relation_changes_that_relation_only() {
    let before = of(&[("f", 1, "1/1"), ("m", 2, "1/2"), ("k", 3, "1/3"), ("b", 4, "1/4")]);
    let [mut flags, mut allowed, mut values, mut barriers] = [(); 4].map(|()| before.clone());
    flags.add("f", 5, "2/6");
    allowed.add("m", 5, "2/7");
    values.add("k", 5, "2/8");
    barriers.add("b", 5, "2/9");
    assert_eq!(changed(&before, &before), [false, false, false]);
    assert_eq!(changed(&flags, &before), [true, false, false]);
    assert_eq!(changed(&allowed, &before), [false, true, false]);
    assert_eq!(changed(&values, &before), [false, false, true]);
    assert_eq!(changed(&barriers, &before), [false, false, false]);
    assert_ne!(barriers, before);
}

#[test]
fn other_tables_change_every_relation() {
    let before = of(&[("f", 1, "1/1")]);
    let mut now = before.clone();
    now.set_tables(vec![7, 8]);
    assert_eq!((now.tables(), changed(&now, &before)), (&[7, 8][..], [true; 3]));
}

#[test]
fn each_relation_has_its_letter() {
    assert_eq!(ALL.map(Relation::letter), ['f', 'm', 'k']);
}

#[test]
fn token_of_an_unknown_relation_changes_the_token_set_only() {
    let before = of(&[("f", 1, "1/1"), ("x", 2, "1/2"), ("b", 3, "1/3")]);
    let now = of(&[("b", 3, "1/3"), ("x", 2, "1/4"), ("f", 1, "1/1")]);
    assert_eq!(changed(&now, &before), [false, false, false]);
    assert_ne!(now, before);
    // The order of the relations does not matter.
    assert_eq!(of(&[("x", 2, "1/2"), ("b", 3, "1/3"), ("f", 1, "1/1")]), before);
}

#[test]
fn late_commit_with_an_older_token_is_a_change() {
    let before = of(&[("f", 7, "1/7/7/900")]);
    let now = of(&[("f", 7, "2/12/7/1300")]);
    assert_eq!(changed(&now, &before), [true, false, false]);
}

#[test]
fn removal_of_all_tokens_is_a_change() {
    assert_eq!(changed(&of(&[]), &of(&[("k", 3, "1/3")])), [false, false, true]);
    assert_eq!(changed(&of(&[]), &of(&[])), [false, false, false]);
}

#[test]
fn newest_token_is_the_highest_and_includes_barriers() {
    assert_eq!((of(&[]).newest(), of(&[]).nonce()), (0, 0));
    assert_eq!(of(&[("f", 7, "a"), ("b", 12, "b"), ("k", 9, "c")]).newest(), 12);
    assert_eq!(of(&[("b", 12, "b"), ("f", 7, "a")]).newest(), 12);
    assert_eq!(of(&[("f", 7, "a"), ("f", 3, "a")]).newest(), 7);
}

#[test]
fn same_id_with_another_nonce_is_another_token_set() {
    let mut before = of(&[("f", 7, "1/7")]);
    before.set_nonce(-42);
    let mut restored = before.clone();
    assert_eq!((restored.nonce(), &restored), (-42, &before));
    restored.set_nonce(43);
    assert_eq!((restored.nonce(), restored.newest()), (43, 7));
    assert_ne!(restored, before);
    assert_eq!(changed(&restored, &before), [false, false, false]);
}

#[test]
fn sums_of_a_relation_replace_the_earlier_ones() {
    let mut token_set = of(&[("k", 3, "1/3")]);
    token_set.add("k", 5, "2/8");
    assert_eq!(changed(&token_set, &of(&[("k", 5, "2/8")])), [false, false, false]);
}

#[test]
fn missing_entries_are_summed_and_the_newest_time_is_kept() {
    let mut token_set = of(&[("f", 1, "1/1"), ("m", 2, "1/2")]);
    let before = token_set.clone();
    for (count, newest) in [(0, ""), (2, "2026-11-20T14:03:05Z"), (1, "2026-11-19T14:03:05Z")] {
        token_set.add_missing(count, newest);
    }
    let missing = token_set.missing();
    assert_eq!((missing.count, &*missing.newest), (3, "2026-11-20T14:03:05Z"));
    assert_ne!(token_set, before);
}
