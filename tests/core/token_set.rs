//! What changed between two states of the token table.

use flagstaff::token_set::{Relation, TokenSet};

const ALL: [Relation; 3] = [Relation::Flags, Relation::AllowedUsers, Relation::Values];

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
fn newest_token_includes_barriers() {
    assert_eq!(of(&[]).newest(), 0);
    assert_eq!(of(&[("f", 7, "a"), ("b", 12, "b"), ("k", 9, "c")]).newest(), 12);
}
