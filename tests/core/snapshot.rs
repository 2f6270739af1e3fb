//! The next snapshot of a load: loaded tables are replaced, the others are shared.

use std::sync::Arc;

use flagstaff::row::{AllowedUsersRow, Fault, FlagRow, Users, ValueRow};
use flagstaff::snapshot::{Loaded, Snapshot, Stored};
use flagstaff::stored_value::StoredValue;
use flagstaff::subject::Subject;
use flagstaff::targeting::Dependent;
use flagstaff::user_set::UserSet;
use proptest::prelude::*;

use crate::rows::{
    allow, allowed_users, detached, flag, flags, problems, snapshot, token_set, value, values,
};

#[track_caller]
fn percent(snapshot: &Snapshot, key: &str) -> Option<i32> {
    snapshot.flag(key).map(|flag| flag.rollout_percent)
}

fn names(snapshot: &Snapshot, key: &str, user: i64) -> bool {
    let flag = snapshot.flag(key).expect("the flag is there");
    flag.allowed_users.contains(&Subject::Integer(user))
}

fn address<T>(thing: Option<&T>) -> *const T {
    std::ptr::from_ref(thing.expect("it is there"))
}

fn whole() -> Snapshot {
    Snapshot::default().next(Loaded {
        token_set: Some(token_set(1)),
        flags: Some(vec![flag("1", "banner", 10), flag("2", "checkout", 20)]),
        allowed_users: Some(vec![allow("1", &[7]), allow("2", &[8])]),
        values: Some(vec![value("1", "gateway", "\"stripe\"")]),
        ..Loaded::default()
    })
}

mod partial_loads {
    use super::*;

    #[test]
    fn empty_snapshot_has_no_entries() {
        let empty = Snapshot::default();
        assert_eq!((empty.flag_count(), empty.value_count()), (0, 0));
        assert!(empty.flag("").is_none() && empty.value("").is_none());
        assert!(empty.token_set().is_none() && problems(&empty).is_empty());
    }

    #[test]
    fn load_of_no_table_shares_all_and_replaces_the_token_set() {
        let before = whole();
        let after = before.next(Loaded { token_set: Some(token_set(9)), ..Loaded::default() });
        assert_eq!(address(after.flag("banner")), address(before.flag("banner")));
        assert_eq!(address(after.value("gateway")), address(before.value("gateway")));
        assert_eq!(after.token_set(), Some(&token_set(9)));
    }

    #[test]
    fn load_without_tokens_drops_the_token_set() {
        assert_eq!(whole().next(Loaded::default()).token_set(), None);
    }

    #[test]
    fn load_of_flags_shares_allowed_users_and_values() {
        let before = whole();
        let after = before.next(flags([flag("1", "banner", 99), flag("2", "checkout", 20)]));
        assert_eq!(percent(&after, "banner"), Some(99));
        let allowed = [&before, &after].map(|snapshot| {
            Arc::as_ptr(&snapshot.flag("banner").expect("the flag is there").allowed_users)
        });
        assert!(std::ptr::eq(allowed[0], allowed[1]));
        assert_eq!(address(after.value("gateway")), address(before.value("gateway")));
    }

    #[test]
    fn versions_of_a_row_share_its_key() {
        let before = whole();
        let after = before.next(flags([flag("1", "banner", 30), flag("3", "checkout", 20)]));
        let shared = ["banner", "checkout"].map(|key| {
            let [one, other] = [&before, &after].map(|snapshot| snapshot.flag(key));
            Arc::ptr_eq(&one.expect("a flag").identity, &other.expect("a flag").identity)
        });
        assert_eq!(shared, [true, false]);
    }

    #[test]
    fn version_of_the_values_rises_only_when_they_are_loaded() {
        let before = whole();
        let same = before.next(flags([flag("1", "banner", 20)]));
        assert_eq!(same.values_version(), before.values_version());
        let after = same.next(values([value("1", "gateway", "1")]));
        let another = before.next(values([value("1", "gateway", "2")]));
        assert!(before.values_version() < after.values_version());
        assert!(after.values_version() < another.values_version());
    }

    #[test]
    fn load_of_allowed_users_updates_every_flag() {
        let after = whole().next(allowed_users([allow("1", &[70]), allow("2", &[80])]));
        assert!(names(&after, "banner", 70) && names(&after, "checkout", 80));
        assert!(!names(&after, "banner", 7) && !names(&after, "checkout", 8));
        assert_eq!(percent(&after, "checkout"), Some(20));
    }

    #[test]
    fn primary_keys_that_are_the_same_number_are_distinct() {
        let allowed = allowed_users([allow("07", &[1]), allow("7", &[2])]);
        let after = snapshot([allowed, flags([flag("07", "padded", 0), flag("7", "plain", 0)])]);
        assert!(names(&after, "padded", 1) && names(&after, "plain", 2));
        assert!(!names(&after, "padded", 2) && !names(&after, "plain", 1));
    }

    #[test]
    fn renamed_flag_keeps_its_allowed_users() {
        let after = whole().next(flags([flag("1", "ribbon", 10), flag("2", "checkout", 20)]));
        assert!(after.flag("banner").is_none());
        assert!(names(&after, "ribbon", 7));
    }

    #[test]
    fn flags_that_swap_keys_keep_their_allowed_users() {
        let after = whole().next(flags([flag("1", "checkout", 10), flag("2", "banner", 20)]));
        assert!(names(&after, "checkout", 7) && names(&after, "banner", 8));
        assert!(!names(&after, "checkout", 8) && !names(&after, "banner", 7));
    }

    #[test]
    fn load_of_values_shares_the_flags() {
        let before = whole();
        let after = before.next(values([value("1", "gateway", "\"paypal\"")]));
        assert_eq!(
            after.value("gateway").map(Stored::value),
            Some(&StoredValue::Text("paypal".into()))
        );
        assert_eq!(address(after.flag("banner")), address(before.flag("banner")));
    }

    #[test]
    fn snapshot_counts_and_lists_its_entries() {
        let after = snapshot([
            flags([flag("1", "banner", 10), flag("2", "checkout", 20), flag("3", "beta", 30)]),
            values([value("1", "gateway", "1"), value("2", "limit", "2")]),
        ]);
        assert_eq!((after.flag_count(), after.value_count()), (3, 2));
        let mut listed: Vec<_> = after
            .flags()
            .map(|(key, flag)| (key, flag.identity.pk.clone(), flag.rollout_percent))
            .collect();
        listed.sort_unstable_by_key(|(key, ..)| *key);
        let expected = [("banner", "1", 10), ("beta", "3", 30), ("checkout", "2", 20)];
        assert_eq!(listed, expected.map(|(key, pk, percent)| (key, pk.into(), percent)));
    }

    #[test]
    fn columns_of_a_row_are_those_of_its_flag() {
        for (enabled, client_side) in [(true, false), (false, true)] {
            let row = FlagRow { enabled: Some(enabled), client_side, ..flag("7", "banner", -3) };
            let after = snapshot([flags([row])]);
            let flag = after.flag("banner").expect("a flag");
            assert_eq!((flag.enabled, flag.client_side), (enabled, client_side));
            assert_eq!((&flag.identity.pk, flag.rollout_percent), (&"7".into(), -3));
        }
    }

    #[test]
    fn load_of_allowed_users_changes_no_other_column() {
        let row = FlagRow { enabled: Some(false), client_side: true, ..flag("1", "banner", 42) };
        let before = snapshot([flags([row])]);
        let after = before.next(allowed_users([allow("1", &[7])]));
        let flag = after.flag("banner").expect("a flag");
        let expected = (false, true, 42, &"1".into());
        let found = (flag.enabled, flag.client_side, flag.rollout_percent, &flag.identity.pk);
        assert_eq!(found, expected);
    }

    #[test]
    fn text_keys_are_allowed_users() {
        let users = Users::Texts(vec!["alice".into()]);
        let allowed = allowed_users([AllowedUsersRow::new("1", users)]);
        let after = snapshot([flags([flag("1", "banner", 0)]), allowed]);
        let allowed = &after.flag("banner").expect("the flag is there").allowed_users;
        assert!(allowed.contains(&Subject::Text("alice")) && **allowed != UserSet::Empty);
    }

    #[test]
    fn sql_null_is_null_and_not_absent() {
        let row = ValueRow { value: Ok(None), ..value("1", "gateway", "") };
        let after = snapshot([values([row])]);
        assert_eq!(after.value("gateway").map(Stored::value), Some(&StoredValue::Null));
        assert!(problems(&after).is_empty());
    }
}

mod malformed_rows {
    use super::*;

    fn without_enabled(row: FlagRow) -> FlagRow {
        FlagRow { enabled: None, ..row }
    }

    fn without_rollout(row: FlagRow) -> FlagRow {
        FlagRow { rollout_percent: None, ..row }
    }

    fn without_key(row: FlagRow) -> FlagRow {
        FlagRow { key: Err(Fault::Null), ..row }
    }

    #[test]
    fn each_malformed_row_is_a_problem() {
        let after = snapshot([flags([
            without_enabled(flag("1", "banner", 10)),
            without_rollout(flag("2", "checkout", 20)),
            without_key(flag("3", "beta", 30)),
            flag("4", "shop", 40),
        ])]);
        let expected = [
            "flag \"banner\" is set aside: its enabled is NULL",
            "flag \"checkout\" is set aside: its rollout_percent is NULL",
            "flag \"pk 3\" is set aside: its key is NULL",
        ];
        assert_eq!(problems(&after), expected);
        assert_eq!((after.flag_count(), percent(&after, "shop")), (1, Some(40)));
    }

    #[test]
    fn malformed_row_keeps_its_last_good_version() {
        let rows = [without_rollout(flag("1", "banner", 0)), flag("2", "checkout", 25)];
        let after = whole().next(flags(rows));
        assert_eq!(percent(&after, "banner"), Some(10));
        assert_eq!(percent(&after, "checkout"), Some(25));
    }

    #[test]
    fn last_good_version_survives_many_loads() {
        let bad = || flags([without_enabled(flag("1", "banner", 0))]);
        let after = whole().next(bad()).next(bad()).next(values([])).next(bad());
        assert_eq!((percent(&after, "banner"), after.flag_count()), (Some(10), 1));
        assert_eq!(problems(&after).len(), 1);
    }

    #[test]
    fn malformed_row_that_is_deleted_or_repaired_is_no_problem() {
        let bad = whole().next(flags([without_enabled(flag("1", "banner", 0))]));
        let (deleted, repaired) = (bad.next(flags([])), bad.next(flags([flag("1", "banner", 55)])));
        assert_eq!((deleted.flag_count(), percent(&repaired, "banner")), (0, Some(55)));
        assert!(problems(&deleted).is_empty() && problems(&repaired).is_empty());
    }

    #[test]
    fn row_without_a_key_keeps_its_last_key() {
        let after = whole().next(flags([without_key(flag("1", "", 0))]));
        assert_eq!((percent(&after, "banner"), after.flag_count()), (Some(10), 1));
    }

    #[test]
    fn row_without_a_key_loses_it_to_a_good_row() {
        let lost = without_key(flag("1", "", 0));
        let took = flag("2", "banner", 77);
        for rows in [[lost.clone(), took.clone()], [took, lost]] {
            let after = whole().next(flags(rows));
            assert_eq!((percent(&after, "banner"), after.flag_count()), (Some(77), 1));
            assert!(names(&after, "banner", 8));
        }
    }

    #[test]
    fn malformed_renamed_row_keeps_its_last_good_key() {
        let after = whole().next(flags([without_enabled(flag("1", "ribbon", 0))]));
        assert_eq!(percent(&after, "banner"), Some(10));
        assert!(after.flag("ribbon").is_none());
    }

    #[test]
    fn last_good_version_gets_the_current_allowed_users() {
        let bad = flags([without_enabled(flag("1", "banner", 0))]);
        let together = Loaded { allowed_users: Some(vec![allow("1", &[70])]), ..bad.clone() };
        let apart = [bad, allowed_users([allow("1", &[70])])];
        for after in [whole().next(together), apart.into_iter().fold(whole(), |s, l| s.next(l))] {
            assert!(names(&after, "banner", 70) && !names(&after, "banner", 7));
        }
    }

    #[test]
    fn flag_problems_stay_while_only_values_are_loaded() {
        let bad = flags([without_enabled(flag("1", "banner", 0))]);
        let lost = ValueRow { key: Err(Fault::Null), ..value("5", "", "1") };
        let after = whole().next(bad).next(values([lost]));
        let expected = [
            "flag \"banner\" is set aside: its enabled is NULL",
            "value \"pk 5\" is set aside: its key is NULL",
        ];
        assert_eq!(problems(&after), expected);
        assert_eq!(problems(&after.next(values([]))), expected[..1]);
    }

    #[test]
    fn value_that_python_cannot_decode_keeps_its_last_version() {
        let deep = "[".repeat(501);
        let after = whole().next(values([value("1", "gateway", &deep), value("9", "new", &deep)]));
        assert_eq!(
            after.value("gateway").map(Stored::value),
            Some(&StoredValue::Text("stripe".into()))
        );
        assert_eq!(after.value("new").map(Stored::value), None);
        let expected = [
            "value \"gateway\" is set aside: its value is nested deeper than 500 levels",
            "value \"new\" is set aside: its value is nested deeper than 500 levels",
        ];
        assert_eq!(problems(&after), expected);
    }

    #[test]
    fn value_without_a_key_keeps_its_last_version() {
        let lost = ValueRow { key: Err(Fault::Null), ..value("1", "", "\"stripe\"") };
        let after = whole().next(values([lost]));
        assert_eq!(
            after.value("gateway").map(Stored::value),
            Some(&StoredValue::Text("stripe".into()))
        );
    }

    #[test]
    fn key_with_quotes_is_escaped_in_the_problem() {
        let after = snapshot([flags([without_enabled(flag("1", "a\"b\n", 0))])]);
        assert_eq!(problems(&after), [r#"flag "a\"b\n" is set aside: its enabled is NULL"#]);
    }
}

mod duplicates {
    use super::*;

    const DUPLICATE: &str = "flag \"banner\" is set aside: several rows have this key";

    fn copies(count: usize) -> Vec<FlagRow> {
        let pks = (1..=count).map(|pk| pk.to_string());
        pks.map(|pk| flag(&pk, "banner", 50)).collect()
    }

    #[test]
    fn duplicates_keep_the_last_good_version_if_there_is_one() {
        for (before, expected) in [(Snapshot::default(), None), (whole(), Some(10))] {
            for count in 2..6 {
                let after = before.next(flags(copies(count)));
                assert_eq!(percent(&after, "banner"), expected, "{count} rows");
                assert_eq!(problems(&after), [DUPLICATE]);
            }
        }
    }

    #[test]
    fn duplicates_get_the_current_allowed_users() {
        let allowed = Some(vec![allow("1", &[70])]);
        let after = whole().next(Loaded { allowed_users: allowed, ..flags(copies(2)) });
        assert!(names(&after, "banner", 70) && !names(&after, "banner", 7));
    }

    #[test]
    fn other_rows_beside_duplicates_are_used() {
        let mut rows = copies(3);
        rows.insert(1, flag("9", "checkout", 25));
        let after = whole().next(flags(rows));
        assert_eq!((percent(&after, "checkout"), after.flag_count()), (Some(25), 2));
    }

    #[test]
    fn single_row_left_of_duplicates_is_used() {
        let after = whole().next(flags(copies(3))).next(flags([flag("3", "banner", 60)]));
        assert_eq!((percent(&after, "banner"), problems(&after).len()), (Some(60), 0));
    }

    #[test]
    fn malformed_row_beside_a_good_one_is_no_duplicate() {
        let broken = FlagRow { enabled: None, ..flag("1", "banner", 0) };
        let after = whole().next(flags([broken, flag("5", "banner", 60)]));
        assert_eq!(percent(&after, "banner"), Some(60));
    }

    #[test]
    fn duplicate_values_keep_the_last_good_version() {
        let rows = || {
            values([
                value("1", "gateway", "1"),
                value("2", "gateway", "2"),
                value("3", "gateway", "3"),
            ])
        };
        let (fresh, kept) = (snapshot([rows()]), whole().next(rows()));
        assert_eq!(fresh.value("gateway"), None);
        assert_eq!(
            kept.value("gateway").map(Stored::value),
            Some(&StoredValue::Text("stripe".into()))
        );
        let expected = ["value \"gateway\" is set aside: several rows have this key"];
        assert_eq!(
            (problems(&fresh), problems(&kept)),
            (expected.map(String::from).to_vec(), expected.map(String::from).to_vec())
        );
    }
}

/// The rows of a table by pk. The key follows from the pk, so it is unique.
type Table<T> = std::collections::BTreeMap<u8, T>;

#[derive(Clone, Debug)]
struct Database {
    flags: Table<i32>,
    allowed: Table<Vec<i64>>,
    values: Table<i64>,
}

impl Database {
    fn load(&self, [flags, allowed, values]: [bool; 3]) -> Loaded {
        let flag_rows = self
            .flags
            .iter()
            .map(|(pk, percent)| flag(&pk.to_string(), &format!("flag {pk}"), *percent));
        let allowed_rows = self.allowed.iter().map(|(pk, users)| allow(&pk.to_string(), users));
        let value_rows = self.values.iter().map(|(pk, number)| {
            value(&pk.to_string(), &format!("value {pk}"), &number.to_string())
        });
        Loaded {
            flags: flags.then(|| flag_rows.collect()),
            allowed_users: allowed.then(|| allowed_rows.collect()),
            values: values.then(|| value_rows.collect()),
            ..Loaded::default()
        }
    }
}

fn database() -> impl Strategy<Value = Database> {
    use proptest::collection::{btree_map, vec};
    let flags = btree_map(0..6_u8, -5..105_i32, 0..6);
    let allowed = btree_map(0..6_u8, vec(0..4_i64, 0..3), 0..6);
    let values = btree_map(0..6_u8, any::<i64>(), 0..6);
    (flags, allowed, values).prop_map(|(flags, allowed, values)| Database {
        flags,
        allowed,
        values,
    })
}

#[track_caller]
fn assert_same(one: &Snapshot, other: &Snapshot) {
    for pk in 0..6 {
        let (flag, value) = (format!("flag {pk}"), format!("value {pk}"));
        assert_eq!(one.flag(&flag), other.flag(&flag));
        assert_eq!(one.value(&value), other.value(&value));
    }
    assert_eq!(one.flag_count(), other.flag_count());
    assert_eq!(one.value_count(), other.value_count());
}

proptest! {
    /// Any sequence of partial loads equals one full load.
    #[test]
    fn partial_loads_add_up_to_a_full_load(
        first in database(),
        changes in proptest::collection::vec((database(), any::<[bool; 3]>()), 1..8),
    ) {
        let (mut now, mut snapshot) = (first.clone(), Snapshot::default().next(first.load([true; 3])));
        for (new, changed) in changes {
            let [flags, allowed, values] = changed;
            now = Database {
                flags: if flags { new.flags } else { now.flags },
                allowed: if allowed { new.allowed } else { now.allowed },
                values: if values { new.values } else { now.values },
            };
            snapshot = snapshot.next(now.load(changed));
            assert_same(&snapshot, &Snapshot::default().next(now.load([true; 3])));
        }
    }
}

#[test]
fn flag_depends_on_the_subject_between_0_and_100_percent() {
    let of = |enabled, percent, allowed| detached(enabled, percent, allowed).depends_on_subject();
    let no = [of(false, 50, &[1]), of(true, 0, &[]), of(true, 100, &[1]), of(true, -5, &[])];
    let yes = [of(true, 1, &[]), of(true, 99, &[]), of(true, 0, &[1]), of(true, -5, &[1])];
    assert_eq!((no, yes), ([false; 4], [true; 4]));
}

#[test]
fn value_is_secret_in_the_snapshot_that_its_row_says_so() {
    let row = |is_secret| ValueRow { is_secret, ..value("1", "gateway", "\"stripe\"") };
    let before = Snapshot::default().next(values([row(false)]));
    let after = before.next(values([row(true)]));
    assert_eq!([&before, &after].map(|all| all.is_secret("gateway")), [false, true]);
    assert!(!after.is_secret("unknown"));
    // A row that cannot be read keeps what its last good version says.
    let lost = ValueRow { value: Err(Fault::TooLarge), ..row(false) };
    assert!(after.next(values([lost])).is_secret("gateway"));
}

#[test]
fn last_good_value_is_secret_if_its_row_became_secret_and_cannot_be_read() {
    let row = |is_secret| ValueRow { is_secret, ..value("1", "gateway", "\"stripe\"") };
    let before = Snapshot::default().next(values([row(false)]));
    let lost = ValueRow { value: Err(Fault::TooLarge), ..row(true) };
    let after = before.next(values([lost]));
    assert!(after.value("gateway").is_some() && after.is_secret("gateway"));
}

#[test]
fn last_good_value_is_not_for_browsers_if_its_row_no_longer_is_and_cannot_be_read() {
    let row = |client_side| ValueRow { client_side, ..value("1", "gateway", "\"stripe\"") };
    let bad = |client_side| ValueRow { value: Err(Fault::TooLarge), ..row(client_side) };
    let is_for_browsers = |all: &Snapshot| all.value("gateway").is_some_and(Stored::is_client_side);
    let before = Snapshot::default().next(values([row(true)]));
    assert!(is_for_browsers(&before.next(values([bad(true)]))));
    assert!(!is_for_browsers(&before.next(values([bad(false)]))));
}
