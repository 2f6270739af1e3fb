//! What moved between two moments of the token table.

use flagstaff::token_set::{Relation, TokenSet};

const ALL: [Relation; 3] = [Relation::Flags, Relation::AllowedUsers, Relation::Values];

fn of(rows: &[(&str, i64, &str)]) -> TokenSet {
    let mut token_set = TokenSet::default();
    for (source, newest, sums) in rows {
        token_set.add(source, *newest, sums);
    }
    token_set
}

fn moved(now: &TokenSet, before: &TokenSet) -> [bool; 3] {
    ALL.map(|source| now.changed(before, source))
}

#[test]
fn each_source_moves_alone() {
    let before = of(&[("f", 1, "1/1"), ("m", 2, "1/2"), ("k", 3, "1/3"), ("b", 4, "1/4")]);
    let [mut flags, mut lists, mut values, mut barriers] = [(); 4].map(|()| before.clone());
    flags.add("f", 5, "2/6");
    lists.add("m", 5, "2/7");
    values.add("k", 5, "2/8");
    barriers.add("b", 5, "2/9");
    assert_eq!(moved(&before, &before), [false, false, false]);
    assert_eq!(moved(&flags, &before), [true, false, false]);
    assert_eq!(moved(&lists, &before), [false, true, false]);
    assert_eq!(moved(&values, &before), [false, false, true]);
    assert_eq!(moved(&barriers, &before), [false, false, false]);
    assert_ne!(barriers, before);
}

#[test]
fn a_commit_with_an_older_token_than_the_newest_is_seen() {
    let before = of(&[("f", 7, "1/7/7/900")]);
    let now = of(&[("f", 7, "2/12/7/1300")]);
    assert_eq!(moved(&now, &before), [true, false, false]);
}

#[test]
fn tokens_that_are_all_gone_moved_too() {
    assert_eq!(moved(&of(&[]), &of(&[("k", 3, "1/3")])), [false, false, true]);
    assert_eq!(moved(&of(&[]), &of(&[])), [false, false, false]);
}

#[test]
fn the_newest_token_is_that_of_all_sources_barriers_included() {
    assert_eq!(of(&[]).newest(), 0);
    assert_eq!(of(&[("f", 7, "a"), ("b", 12, "b"), ("k", 9, "c")]).newest(), 12);
}
