//! The next snapshot of a load that has read only some rows of a table: these are replaced, and those
//! that were not found are deleted. `None` if only all rows show the result.

use std::sync::Arc;

use flagstaff::evaluate::{evaluate, evaluate_value};
use flagstaff::flag::Flag;
use flagstaff::row::{
    AllowedUsersRow, ExperimentRow, Fault, FlagRow, PlanRow, SegmentRow, Users, ValueRow,
};
use flagstaff::snapshot::{Loaded, Snapshot, Stored};
use flagstaff::stored_value::StoredValue;
use flagstaff::subject::Subject;
use flagstaff::token_set::{ReadPoint, Relation};
use flagstaff::watch::Watch;

use crate::attributes::in_country;
use crate::rows::{
    allow, allowed_users, asked, experiment, experiments, flag, flag_with_rules, flags, plan,
    plans, problems, segment, segments, snapshot, token_set, value, values,
};

const GERMANY: &str = r#"[{"attribute": "country", "operator": "in", "values": ["DE"]}]"#;
const FRANCE: &str = r#"[{"attribute": "country", "operator": "in", "values": ["FR"]}]"#;
const OF_SEGMENT: &str = r#"[{"conditions": [{"segment": "beta"}]}]"#;
const OF_SEGMENT_IN_A_VALUE: &str = r#"[{"conditions": [{"segment": "beta"}], "value": 5}]"#;
const UNREADABLE: &str = "[1]";

/// All tables, with more than one row where another one must stay.
fn base() -> Snapshot {
    snapshot([Loaded {
        flags: Some(vec![flag_with_rules("1", "banner", OF_SEGMENT), flag("2", "checkout", 20)]),
        allowed_users: Some(vec![allow("1", &[7]), allow("2", &[8])]),
        segments: Some(vec![segment("1", "beta", GERMANY), segment("2", "other", FRANCE)]),
        values: Some(vec![value("1", "gateway", "\"stripe\""), value("2", "limit", "2")]),
        experiments: Some(vec![experiment("1", "layout"), experiment("2", "price")]),
        plans: Some(vec![PlanRow { pk: "31".into(), ..plan("1", Some(7)) }]),
        ..Loaded::default()
    }])
}

fn flags_of(pks: &[&str], rows: impl IntoIterator<Item = FlagRow>) -> Loaded {
    asked(Relation::FLAGS, pks, flags(rows))
}

fn values_of(pks: &[&str], rows: impl IntoIterator<Item = ValueRow>) -> Loaded {
    asked(Relation::VALUES, pks, values(rows))
}

fn experiments_of(pks: &[&str], rows: impl IntoIterator<Item = ExperimentRow>) -> Loaded {
    asked(Relation::EXPERIMENTS, pks, experiments(rows))
}

fn plans_of(pks: &[&str], rows: impl IntoIterator<Item = PlanRow>) -> Loaded {
    asked(Relation::PLANS, pks, plans(rows))
}

fn pairs(rows: impl IntoIterator<Item = AllowedUsersRow>) -> Loaded {
    asked(Relation::ALLOWED_USERS, &[], allowed_users(rows))
}

/// Of the users that were asked for, these are allowed, and those are not.
fn found_and_absent(flag_pk: &str, users: &[i64], absent: &[i64]) -> AllowedUsersRow {
    AllowedUsersRow { absent: Users::Integers(absent.to_vec()), ..allow(flag_pk, users) }
}

/// A load of one allowed user.
fn pair(flag_pk: &str, user: i64) -> Loaded {
    pairs([found_and_absent(flag_pk, &[user], &[])])
}

/// The snapshot with these rows, which must be enough.
#[track_caller]
fn with(before: &Snapshot, loaded: Loaded) -> Snapshot {
    before.try_next(loaded).expect("the rows are enough")
}

/// Asserts that only all rows show the result.
#[track_caller]
fn assert_not_enough(before: &Snapshot, loaded: Loaded) {
    assert!(before.try_next(loaded).is_none());
}

#[track_caller]
fn found<'a>(snapshot: &'a Snapshot, key: &str) -> &'a Flag {
    snapshot.flag(key).expect("the flag")
}

/// The keys of the flags, and their rollouts.
fn rollouts(snapshot: &Snapshot) -> Vec<(&str, i32)> {
    let mut found: Vec<_> =
        snapshot.flags().map(|(key, flag)| (key, flag.rollout_percent)).collect();
    found.sort_unstable();
    found
}

fn is_on_in(snapshot: &Snapshot, key: &str, country: &str) -> bool {
    evaluate(key, found(snapshot, key), &Subject::Anonymous, &in_country(country)).value
}

fn allows(snapshot: &Snapshot, key: &str, user: i64) -> bool {
    found(snapshot, key).allowed_users.contains(&Subject::Integer(user))
}

fn stored(snapshot: &Snapshot, key: &str) -> Option<StoredValue> {
    snapshot.value(key).map(Stored::value).cloned()
}

fn watch<'a>(snapshot: &'a Snapshot, key: &str) -> Option<&'a Arc<Watch>> {
    found(snapshot, key).watch()
}

mod of_flags {
    use super::*;

    #[test]
    fn found_row_is_inserted_or_replaced_and_the_others_stay() {
        let changed = with(&base(), flags_of(&["2"], [flag("2", "checkout", 30)]));
        assert_eq!(rollouts(&changed), [("banner", 0), ("checkout", 30)]);
        let inserted = with(&changed, flags_of(&["3"], [flag("3", "new", 5)]));
        assert_eq!(rollouts(&inserted), [("banner", 0), ("checkout", 30), ("new", 5)]);
    }

    #[test]
    fn row_that_is_not_found_is_deleted() {
        let deleted = with(&base(), flags_of(&["2"], []));
        assert_eq!(rollouts(&deleted), [("banner", 0)]);
        // Also one that was inserted and deleted since.
        assert_eq!(rollouts(&with(&base(), flags_of(&["9"], []))), rollouts(&base()));
    }

    #[test]
    fn rows_are_deleted_inserted_and_changed_in_one_load() {
        let rows = [flag("3", "new", 5), flag("2", "checkout", 30)];
        let after = with(&base(), flags_of(&["1", "2", "3"], rows));
        assert_eq!(rollouts(&after), [("checkout", 30), ("new", 5)]);
    }

    #[test]
    fn row_with_a_new_key_leaves_the_old_key_and_keeps_its_allowed_users() {
        let renamed = with(&base(), flags_of(&["2"], [flag("2", "payment", 20)]));
        assert_eq!(rollouts(&renamed), [("banner", 0), ("payment", 20)]);
        assert!(allows(&renamed, "payment", 8));
    }

    #[test]
    fn rows_that_swap_keys_keep_their_allowed_users() {
        let rows = [flag("1", "checkout", 10), flag("2", "banner", 20)];
        let swapped = with(&base(), flags_of(&["1", "2"], rows));
        assert_eq!(rollouts(&swapped), [("banner", 20), ("checkout", 10)]);
        assert!(allows(&swapped, "checkout", 7) && allows(&swapped, "banner", 8));
    }

    #[test]
    fn row_takes_the_key_of_a_row_that_is_deleted() {
        let after = with(&base(), flags_of(&["1", "2"], [flag("2", "banner", 20)]));
        assert_eq!(rollouts(&after), [("banner", 20)]);
    }

    #[test]
    fn key_that_another_row_has_is_not_enough() {
        assert_not_enough(&base(), flags_of(&["3"], [flag("3", "banner", 5)]));
        let rows = [flag("3", "new", 5), flag("4", "new", 5)];
        assert_not_enough(&base(), flags_of(&["3", "4"], rows));
    }

    #[test]
    fn versions_of_a_row_share_its_counters_and_its_rules() {
        let row =
            FlagRow { rollout_percent: Some(50), ..flag_with_rules("1", "banner", OF_SEGMENT) };
        let (before, loads) = (base(), [flags_of(&["1"], [row]), flags_of(&["2"], [])]);
        for after in loads.map(|loaded| with(&before, loaded)) {
            let [one, other] = [&before, &after].map(|snapshot| found(snapshot, "banner"));
            assert!(Arc::ptr_eq(&one.identity, &other.identity));
            let [one, other] = [one, other].map(|flag| flag.rules().expect("rules"));
            assert!(Arc::ptr_eq(one, other));
        }
    }

    #[test]
    fn row_that_was_deleted_and_inserted_again_counts_anew() {
        let before = base();
        let without = with(&before, flags_of(&["2"], []));
        let after = with(&without, flags_of(&["2"], [flag("2", "checkout", 20)]));
        let [one, other] = [&before, &after].map(|snapshot| found(snapshot, "checkout"));
        assert!(!Arc::ptr_eq(&one.identity, &other.identity));
    }

    #[test]
    fn row_that_cannot_be_used_is_not_enough() {
        let bad = [
            FlagRow { key: Err(Fault::Null), ..flag("2", "", 20) },
            FlagRow { enabled: None, ..flag("2", "checkout", 20) },
            FlagRow { rollout_percent: None, ..flag("2", "checkout", 20) },
        ];
        for row in bad {
            assert_not_enough(&base(), flags_of(&["2"], [row.clone()]));
            // It may be the reason why another row is used, or why its key is absent.
            let before = base().next(flags([flag("1", "banner", 10), row]));
            assert_not_enough(&before, flags_of(&["1"], [flag("1", "banner", 20)]));
            assert_not_enough(&before, flags_of(&["2"], [flag("2", "checkout", 30)]));
        }
    }

    #[test]
    fn rows_are_enough_again_after_a_load_without_problems() {
        let bad = FlagRow { enabled: None, ..flag("2", "checkout", 20) };
        let before = base().next(flags([bad])).next(flags([flag("2", "checkout", 20)]));
        let after = with(&before, flags_of(&["2"], [flag("2", "checkout", 30)]));
        assert_eq!(rollouts(&after), [("checkout", 30)]);
    }

    #[test]
    fn problem_of_another_table_does_not_matter() {
        let before =
            base().next(values([ValueRow { key: Err(Fault::Null), ..value("1", "", "") }]));
        let after = with(&before, flags_of(&["2"], [flag("2", "checkout", 30)]));
        assert_eq!((rollouts(&after)[1], problems(&after).len()), (("checkout", 30), 1));
    }

    #[test]
    fn rules_that_cannot_be_read_are_not_enough() {
        let bad = || flag_with_rules("2", "checkout", UNREADABLE);
        assert_not_enough(&base(), flags_of(&["2"], [bad()]));
        let before = base().next(flags([flag_with_rules("1", "banner", OF_SEGMENT), bad()]));
        let row = FlagRow { enabled: Some(false), ..flag_with_rules("1", "banner", OF_SEGMENT) };
        assert_not_enough(&before, flags_of(&["1"], [row]));
    }

    #[test]
    fn last_good_rules_of_a_row_are_kept_until_all_rows_are_read() {
        let bad = flag_with_rules("1", "banner", UNREADABLE);
        let before = base().next(flags([bad, flag("2", "checkout", 20)]));
        assert_eq!((problems(&before).len(), is_on_in(&before, "banner", "DE")), (1, true));
        let good = || flag_with_rules("1", "banner", OF_SEGMENT);
        assert_not_enough(&before, flags_of(&["1"], [good()]));
        let after = before.next(flags([good(), flag("2", "checkout", 20)]));
        assert!(problems(&after).is_empty() && is_on_in(&after, "banner", "DE"));
        assert_eq!(rollouts(&with(&after, flags_of(&["2"], []))), [("banner", 0)]);
    }

    #[test]
    fn segment_that_rules_name_and_that_does_not_exist_is_a_problem() {
        let rules = OF_SEGMENT.replace("beta", "gone");
        let after = with(&base(), flags_of(&["2"], [flag_with_rules("2", "checkout", &rules)]));
        let expected = r#"the rules of flag "checkout" name a segment that does not exist: "gone""#;
        assert_eq!(problems(&after), [expected]);
        let after = with(&after, flags_of(&["2"], [flag("2", "checkout", 20)]));
        assert!(problems(&after).is_empty());
    }
}

mod of_values {
    use super::*;

    #[test]
    fn rows_are_inserted_changed_and_deleted() {
        let rows = [value("2", "limit", "3"), value("3", "new", "null")];
        let after = with(&base(), values_of(&["1", "2", "3"], rows));
        assert_eq!(stored(&after, "limit"), Some(StoredValue::Integer(3)));
        assert_eq!(stored(&after, "new"), Some(StoredValue::Null));
        assert_eq!((stored(&after, "gateway"), after.value_count()), (None, 2));
    }

    #[test]
    fn rows_swap_their_keys() {
        let rows = [value("1", "limit", "1"), value("2", "gateway", "2")];
        let after = with(&base(), values_of(&["1", "2"], rows));
        assert_eq!(stored(&after, "limit"), Some(StoredValue::Integer(1)));
        assert_eq!(stored(&after, "gateway"), Some(StoredValue::Integer(2)));
    }

    #[test]
    fn key_that_another_row_has_is_not_enough() {
        assert_not_enough(&base(), values_of(&["3"], [value("3", "limit", "1")]));
    }

    #[test]
    fn row_that_cannot_be_used_is_not_enough() {
        let bad = [
            ValueRow { key: Err(Fault::Null), ..value("2", "", "2") },
            ValueRow { value: Err(Fault::TooLarge), ..value("2", "limit", "2") },
            value("2", "limit", &"1".repeat(5_000)),
            ValueRow { rules: Some(UNREADABLE.into()), ..value("2", "limit", "2") },
        ];
        for row in bad {
            assert_not_enough(&base(), values_of(&["2"], [row.clone()]));
            let before = base().next(values([value("1", "gateway", "1"), row]));
            assert_not_enough(&before, values_of(&["1"], [value("1", "gateway", "2")]));
        }
    }

    #[test]
    fn version_rises_only_if_values_were_read() {
        let before = base();
        let same = [
            flags_of(&["2"], []),
            asked(Relation::SEGMENTS, &["1"], segments([segment("1", "beta", FRANCE)])),
            pair("1", 9),
        ];
        for after in same.map(|loaded| with(&before, loaded)) {
            assert_eq!(after.values_version(), before.values_version());
        }
        // Also if no row was found.
        for loaded in [values_of(&["2"], [value("2", "limit", "3")]), values_of(&["9"], [])] {
            assert!(with(&before, loaded).values_version() > before.values_version());
        }
    }

    #[test]
    fn rules_keep_their_counters() {
        let rules = |percent: u8| {
            let rule =
                format!(r#"[{{"conditions": [], "rollout_percent": {percent}, "value": 5}}]"#);
            ValueRow { rules: Some(rule.into()), ..value("1", "gateway", "1") }
        };
        let before = base().next(values([rules(10)]));
        let after = with(&before, values_of(&["1"], [rules(20)]));
        let counters = [&before, &after].map(|snapshot| {
            Arc::as_ptr(&snapshot.value_rules().next().expect("the rules").counters)
        });
        assert!(std::ptr::eq(counters[0], counters[1]));
    }
}

mod of_segments {
    use super::*;

    fn segments_of(pks: &[&str], rows: &[(&str, &str, &str)]) -> Loaded {
        let rows = rows.iter().map(|(pk, key, conditions)| segment(pk, key, conditions));
        asked(Relation::SEGMENTS, pks, segments(rows))
    }

    #[test]
    fn rules_get_the_new_conditions_of_their_segment() {
        let before = base();
        assert!(is_on_in(&before, "banner", "DE") && !is_on_in(&before, "banner", "FR"));
        let after = with(&before, segments_of(&["1"], &[("1", "beta", FRANCE)]));
        assert!(!is_on_in(&after, "banner", "DE") && is_on_in(&after, "banner", "FR"));
        let again = with(&after, segments_of(&["1"], &[("1", "beta", GERMANY)]));
        assert!(before.differences(&again).is_empty());
    }

    #[test]
    fn segment_that_is_not_found_is_deleted_and_a_problem_of_the_rules_that_name_it() {
        let after = with(&base(), segments_of(&["1"], &[]));
        assert_eq!(problems(&after).len(), 1);
        assert!(!is_on_in(&after, "banner", "DE"));
        let after = with(&after, segments_of(&["1"], &[("1", "beta", GERMANY)]));
        assert!(base().differences(&after).is_empty());
    }

    #[test]
    fn segments_swap_their_keys() {
        let rows = [("1", "other", GERMANY), ("2", "beta", FRANCE)];
        let after = with(&base(), segments_of(&["1", "2"], &rows));
        assert!(!is_on_in(&after, "banner", "DE") && is_on_in(&after, "banner", "FR"));
    }

    #[test]
    fn key_that_another_row_has_is_not_enough() {
        assert_not_enough(&base(), segments_of(&["1"], &[("1", "other", GERMANY)]));
    }

    #[test]
    fn row_that_cannot_be_used_is_not_enough() {
        let of_beta = |pk, key, conditions| {
            let row = segment(pk, "beta", GERMANY);
            SegmentRow { key, conditions, ..row }
        };
        let bad = [
            of_beta("1", Err(Fault::Null), Ok(GERMANY.into())),
            of_beta("1", Ok("beta".into()), Err(Fault::TooLarge)),
            of_beta("1", Ok("beta".into()), Ok(UNREADABLE.into())),
        ];
        for row in bad {
            let loaded = asked(Relation::SEGMENTS, &["1"], segments([row.clone()]));
            assert_not_enough(&base(), loaded);
            let before = base().next(segments([row, segment("2", "other", FRANCE)]));
            assert_not_enough(&before, segments_of(&["2"], &[("2", "other", GERMANY)]));
        }
    }
}

mod of_experiments {
    use super::*;

    fn runs(snapshot: &Snapshot) -> Vec<(&str, i32)> {
        let mut found: Vec<_> =
            snapshot.experiments().map(|found| (&*found.identity.key, found.run)).collect();
        found.sort_unstable();
        found
    }

    fn in_run(pk: &str, key: &str, run: i32) -> ExperimentRow {
        ExperimentRow { run, ..experiment(pk, key) }
    }

    #[test]
    fn rows_are_inserted_changed_and_deleted() {
        let rows = [in_run("2", "price", 2), in_run("3", "new", 3)];
        let after = with(&base(), experiments_of(&["1", "2", "3"], rows));
        assert_eq!(runs(&after), [("new", 3), ("price", 2)]);
        let before = base();
        let after = with(&before, experiments_of(&["2"], [in_run("2", "price", 2)]));
        assert_eq!(runs(&after), [("layout", 0), ("price", 2)]);
        for key in ["layout", "price"] {
            let [one, other] =
                [&before, &after].map(|snapshot| snapshot.experiment(key).expect("it"));
            assert!(Arc::ptr_eq(&one.identity, &other.identity), "{key}");
        }
    }

    #[test]
    fn rows_swap_their_keys() {
        let rows = [in_run("1", "price", 2), in_run("2", "layout", 3)];
        let after = with(&base(), experiments_of(&["1", "2"], rows));
        assert_eq!(runs(&after), [("layout", 3), ("price", 2)]);
    }

    #[test]
    fn key_that_another_row_has_is_not_enough() {
        assert_not_enough(&base(), experiments_of(&["3"], [experiment("3", "layout")]));
    }

    #[test]
    fn row_that_cannot_be_used_is_not_enough() {
        let bad = [
            ExperimentRow { key: Err(Fault::Null), ..experiment("2", "") },
            ExperimentRow { state: "lost".into(), ..experiment("2", "price") },
            ExperimentRow { rules: Some(UNREADABLE.into()), ..experiment("2", "price") },
        ];
        for row in bad {
            assert_not_enough(&base(), experiments_of(&["2"], [row.clone()]));
            let before = base().next(experiments([experiment("1", "layout"), row]));
            assert_not_enough(&before, experiments_of(&["1"], [in_run("1", "layout", 2)]));
        }
    }
}

mod of_plans {
    use super::*;

    /// A plan with a primary key of its own.
    fn plan_of(pk: &str, flag_pk: &str, run: i64) -> PlanRow {
        PlanRow { pk: pk.into(), ..plan(flag_pk, Some(run)) }
    }

    fn run(snapshot: &Snapshot, key: &str) -> Option<i64> {
        watch(snapshot, key).map(|watch| watch.run())
    }

    #[test]
    fn flag_is_watched_from_the_begin_of_its_plan_to_its_end() {
        let begun = with(&base(), plans_of(&["32"], [plan_of("32", "2", 8)]));
        assert_eq!((run(&begun, "banner"), run(&begun, "checkout")), (Some(7), Some(8)));
        let ended = with(&begun, plans_of(&["31"], []));
        assert_eq!((run(&ended, "banner"), run(&ended, "checkout")), (None, Some(8)));
    }

    #[test]
    fn next_plan_of_a_flag_replaces_the_one_that_ended() {
        let after = with(&base(), plans_of(&["31", "33"], [plan_of("33", "1", 9)]));
        assert_eq!((run(&after, "banner"), after.watches().count()), (Some(9), 1));
    }

    #[test]
    fn run_that_goes_on_keeps_its_watch() {
        let before = base();
        let guarded = PlanRow { guarded_for: Some(60.0), ..plan_of("31", "1", 7) };
        let changed = flag_with_rules("1", "banner", "[]");
        let loads = [
            plans_of(&["31"], [guarded]),
            plans_of(&["32"], [plan_of("32", "2", 8)]),
            flags_of(&["1"], [changed]),
            flags_of(&["2"], []),
            pair("1", 9),
        ];
        for after in loads.map(|loaded| with(&before, loaded)) {
            let [one, other] =
                [&before, &after].map(|snapshot| watch(snapshot, "banner").expect("a watch"));
            assert!(Arc::ptr_eq(one, other));
        }
    }

    #[test]
    fn limits_that_cannot_be_read_are_not_enough() {
        let bad = PlanRow { latency_limits: "x".into(), ..plan_of("31", "1", 7) };
        assert_not_enough(&base(), plans_of(&["31"], [bad.clone()]));
        let before = base().next(plans([bad]));
        assert_not_enough(&before, plans_of(&["32"], [plan_of("32", "2", 8)]));
    }
}

mod of_allowed_users {
    use super::*;

    fn texts(flag_pk: &str, users: &[&str], absent: &[&str]) -> AllowedUsersRow {
        let [users, absent] = [users, absent]
            .map(|users| Users::Texts(users.iter().map(|user| (*user).into()).collect()));
        AllowedUsersRow { absent, ..AllowedUsersRow::new(flag_pk, users) }
    }

    #[test]
    fn users_are_added_and_removed_and_the_others_stay() {
        let before = base();
        let after = with(&before, pair("1", 9));
        assert!(allows(&after, "banner", 7) && allows(&after, "banner", 9));
        let after = with(&after, pairs([found_and_absent("1", &[10], &[7])]));
        assert_eq!([7, 9, 10].map(|user| allows(&after, "banner", user)), [false, true, true]);
        let [one, other] = [&before, &after].map(|snapshot| found(snapshot, "checkout"));
        assert!(Arc::ptr_eq(&one.allowed_users, &other.allowed_users));
    }

    #[test]
    fn flag_without_its_last_user_has_none() {
        let after = with(&base(), pairs([found_and_absent("1", &[], &[7])]));
        assert!(found(&after, "banner").allowed_users.is_empty());
        // Flags without allowed users share one empty set.
        let after = with(&after, flags_of(&["3"], [flag("3", "new", 0)]));
        let [one, other] = ["banner", "new"].map(|key| &found(&after, key).allowed_users);
        assert!(Arc::ptr_eq(one, other));
    }

    #[test]
    fn users_of_a_flag_that_does_not_exist_are_those_of_a_flag_inserted_later() {
        let before = with(&base(), pairs([found_and_absent("3", &[5], &[6])]));
        let after = with(&before, flags_of(&["3"], [flag("3", "new", 0)]));
        assert!(allows(&after, "new", 5) && !allows(&after, "new", 6));
    }

    #[test]
    fn text_keys_are_added_and_removed() {
        let row = texts("1", &["alice", "bob"], &[]);
        let before = base().next(allowed_users([row]));
        let after = with(&before, pairs([texts("1", &["carol"], &["alice"])]));
        let allowed = &found(&after, "banner").allowed_users;
        let are = ["alice", "bob", "carol"].map(|user| allowed.contains(&Subject::Text(user)));
        assert_eq!(are, [false, true, true]);
    }

    #[test]
    fn keys_of_another_type_are_not_enough() {
        assert_not_enough(&base(), pairs([texts("1", &["alice"], &[])]));
    }
}

mod of_several_tables {
    use super::*;

    /// Both loads at once.
    fn both(mut one: Loaded, other: Loaded) -> Loaded {
        one.asked.extend(other.asked);
        Loaded {
            flags: one.flags.or(other.flags),
            segments: one.segments.or(other.segments),
            values: one.values.or(other.values),
            allowed_users: one.allowed_users.or(other.allowed_users),
            plans: one.plans.or(other.plans),
            ..one
        }
    }

    fn beta(conditions: &str) -> Loaded {
        asked(Relation::SEGMENTS, &["1"], segments([segment("1", "beta", conditions)]))
    }

    #[test]
    fn flag_of_the_load_and_the_other_ones_get_the_segment_of_the_load() {
        let checkout = flags_of(&["2"], [flag_with_rules("2", "checkout", OF_SEGMENT)]);
        let after = with(&base(), both(checkout, beta(FRANCE)));
        for key in ["banner", "checkout"] {
            assert!(is_on_in(&after, key, "FR") && !is_on_in(&after, key, "DE"), "{key}");
        }
    }

    #[test]
    fn value_of_the_load_gets_the_segment_of_the_load() {
        let rules = Some(OF_SEGMENT_IN_A_VALUE.into());
        let row = ValueRow { rules, ..value("2", "limit", "2") };
        let after = with(&base(), both(values_of(&["2"], [row]), beta(FRANCE)));
        let rules = after.value("limit").and_then(Stored::rules).expect("rules");
        let decided = ["DE", "FR"].map(|country| {
            let attributes = in_country(country);
            evaluate_value("limit", &rules.targeting, &Subject::Anonymous, &attributes).value
        });
        assert_eq!(decided, [false, true]);
    }

    #[test]
    fn flag_of_the_load_and_the_other_ones_get_the_allowed_users_of_the_load() {
        let users = pairs(["1", "2"].map(|pk| found_and_absent(pk, &[9], &[])));
        let after = with(&base(), both(flags_of(&["2"], [flag("2", "checkout", 30)]), users));
        assert!(allows(&after, "banner", 9) && allows(&after, "checkout", 9));
        assert_eq!(rollouts(&after)[1], ("checkout", 30));
    }

    #[test]
    fn flag_and_its_users_are_inserted_in_one_load() {
        let users = pair("3", 9);
        let after = with(&base(), both(flags_of(&["3"], [flag("3", "new", 0)]), users));
        assert!(allows(&after, "new", 9));
    }

    #[test]
    fn flag_of_the_load_and_the_other_ones_get_the_plan_of_the_load() {
        let rows = [
            PlanRow { pk: "32".into(), ..plan("2", Some(8)) },
            PlanRow { pk: "31".into(), ..plan("1", Some(9)) },
        ];
        let checkout = flags_of(&["2"], [flag("2", "checkout", 30)]);
        let after = with(&base(), both(checkout, plans_of(&["31", "32"], rows)));
        let runs = ["banner", "checkout"].map(|key| watch(&after, key).map(|watch| watch.run()));
        assert_eq!(runs, [Some(9), Some(8)]);
    }

    #[test]
    fn one_table_that_is_not_enough_is_enough_to_read_all() {
        let bad = ValueRow { key: Err(Fault::Null), ..value("2", "", "2") };
        let good = flags_of(&["2"], [flag("2", "checkout", 30)]);
        assert_not_enough(&base(), both(good, values_of(&["2"], [bad])));
    }

    #[test]
    fn table_that_was_read_whole_may_have_problems() {
        let bad = ValueRow { key: Err(Fault::Null), ..value("2", "", "2") };
        let good = flags_of(&["2"], [flag("2", "checkout", 30)]);
        let after = with(&base(), both(good, values([value("1", "gateway", "1"), bad])));
        assert_eq!((rollouts(&after)[1], problems(&after).len()), (("checkout", 30), 1));
    }

    #[test]
    fn each_table_takes_rows_while_it_has_no_problem_itself() {
        let relations = [
            Relation::FLAGS,
            Relation::VALUES,
            Relation::SEGMENTS,
            Relation::PLANS,
            Relation::EXPERIMENTS,
        ];
        let bad = [
            flags([FlagRow { enabled: None, ..flag("2", "checkout", 20) }]),
            values([ValueRow { value: Err(Fault::TooLarge), ..value("2", "limit", "2") }]),
            segments([segment("2", "other", UNREADABLE)]),
            plans([PlanRow { latency_limits: "x".into(), ..plan("2", Some(8)) }]),
            experiments([ExperimentRow { state: "lost".into(), ..experiment("2", "price") }]),
        ];
        for (relation, loaded) in relations.into_iter().zip(bad) {
            let after = base().next(loaded);
            for other in relations {
                assert!(base().takes_rows(other));
                assert_eq!(after.takes_rows(other), other != relation, "{other:?}");
            }
        }
        assert!(base().takes_rows(Relation::GROUPS));
        let bad = [flag_with_rules("2", "checkout", UNREADABLE)];
        assert!(!base().next(flags(bad)).takes_rows(Relation::FLAGS));
        let missing = [flag_with_rules("2", "checkout", &OF_SEGMENT.replace("beta", "gone"))];
        assert!(base().next(flags(missing)).takes_rows(Relation::FLAGS));
    }

    #[test]
    fn next_snapshot_of_all_rows_has_no_others_whatever_was_asked_for() {
        let after = base().next(flags_of(&["2"], [flag("2", "checkout", 30)]));
        assert_eq!(rollouts(&after), [("checkout", 30)]);
    }

    #[test]
    fn tables_that_were_not_read_are_shared() {
        let before = base();
        let address = |snapshot: &Snapshot| {
            let flag: *const Flag = found(snapshot, "checkout");
            let value: *const Stored = snapshot.value("limit").expect("the value");
            (flag, value, std::ptr::from_ref(snapshot.experiment("price").expect("it")))
        };
        let same = |loaded| {
            let (now, then) = (address(&with(&before, loaded)), address(&before));
            [now.0 == then.0, now.1 == then.1, std::ptr::eq(now.2, then.2)]
        };
        assert_eq!(same(flags_of(&["1"], [])), [false, true, true]);
        assert_eq!(same(values_of(&["1"], [])), [true, false, true]);
        assert_eq!(same(experiments_of(&["1"], [])), [true, true, false]);
        // This segment was written as it was.
        let beta = segment("1", "beta", GERMANY);
        assert_eq!(same(asked(Relation::SEGMENTS, &["1"], segments([beta]))), [true, true, true]);
        // No rule names this segment, and this plan measures what it measured before.
        let other = asked(Relation::SEGMENTS, &["2"], segments([]));
        assert_eq!(same(other), [true, true, true]);
        let going_on = PlanRow { pk: "31".into(), ..plan("1", Some(7)) };
        assert_eq!(same(plans_of(&["31"], [going_on])), [true, true, true]);
        assert_eq!(same(pair("1", 9)), [false, true, true]);
    }

    #[test]
    fn tokens_and_the_read_point_are_those_of_the_load() {
        let read_point = ReadPoint { transactions: "7:9:8".into(), catalog: -4 };
        let loaded = Loaded {
            token_set: Some(token_set(9)),
            read_point: Some(read_point.clone()),
            ..flags_of(&["2"], [])
        };
        let after = with(&base(), loaded);
        assert_eq!(
            (after.token_set(), after.read_point()),
            (Some(&token_set(9)), Some(&read_point))
        );
        assert_eq!(with(&after, Loaded::default()).read_point(), None);
    }
}

mod limits {
    use super::*;
    use flagstaff::row::MAX_PATTERNS;

    /// The JSON text with spaces after it, so that it has this size.
    fn padded(json: &str, size: usize) -> Box<str> {
        (json.to_owned() + &" ".repeat(size - json.len())).into()
    }

    #[test]
    fn values_are_enough_up_to_half_of_their_limit() {
        let half_of_the_limit = 32 << 20;
        let row = |pk, size| value(pk, pk, &padded("1", size));
        let before = base().next(values([row("1", half_of_the_limit - 100)]));
        assert_eq!(with(&before, values_of(&["2"], [row("2", 100)])).value_count(), 2);
        assert_not_enough(&before, values_of(&["2"], [row("2", 101)]));
        assert!(before.takes_rows(Relation::VALUES));
        let before = before.next(values([row("1", half_of_the_limit + 1)]));
        assert!(!before.takes_rows(Relation::VALUES));
    }

    #[test]
    fn regular_expressions_are_enough_up_to_their_limit() {
        let with_patterns = |pk: usize, count| {
            let values = vec![r#""D""#; count].join(",");
            let condition =
                format!(r#"{{"attribute": "country", "operator": "regex", "values": [{values}]}}"#);
            let pk = pk.to_string();
            flag_with_rules(&pk, &pk, &format!(r#"[{{"conditions": [{condition}]}}]"#))
        };
        let many = (0..MAX_PATTERNS / 100).map(|pk| with_patterns(pk, 100));
        let before = snapshot([flags(many)]);
        assert!(problems(&before).is_empty());
        assert_not_enough(&before, flags_of(&["10"], [with_patterns(10, 1)]));
        let after = with(&before, flags_of(&["9"], [with_patterns(9, 99)]));
        assert!(with(&after, flags_of(&["10"], [with_patterns(10, 1)])).flag("10").is_some());
    }
}
