//! Rules on groups: whom they match, which groups they refer to, and what is read when.

use flagstaff::evaluate::{Reason, evaluate};
use flagstaff::groups::{GroupReferences, Groups, GroupsOf};
use flagstaff::row::{FlagRow, GroupRow, Users};
use flagstaff::rules::{Attribute, Attributes, Value};
use flagstaff::snapshot::{Loaded, Snapshot};
use flagstaff::subject::Subject;

use crate::rows::{flag, flag_with_rules, flags, problems, segment};

const KEY: &str = "new_checkout";

/// The groups of a subject, as a snapshot offers them.
struct OfSnapshot<'a>(&'a Snapshot, Subject<'a>);

impl Attributes for OfSnapshot<'_> {
    fn read<T>(&self, name: &str, with: impl FnOnce(Attribute<'_>) -> T) -> T {
        let Self(snapshot, subject) = *self;
        match snapshot.groups().filter(|_| name == "groups") {
            Some(groups) => with(Attribute::Value(Value::Groups(GroupsOf::new(groups, subject)))),
            None => with(Attribute::Missing),
        }
    }
}

fn condition(operator: &str, values: &str, negate: bool) -> String {
    format!(
        r#"{{"attribute": "groups", "operator": "{operator}", "values": {values}, "negate": {negate}}}"#
    )
}

fn rule(condition: &str) -> String {
    format!(r#"[{{"conditions": [{condition}]}}]"#)
}

fn with_rule(condition: &str) -> Snapshot {
    Snapshot::default().next(flags([flag_with_rules("1", KEY, &rule(condition))]))
}

fn named(names: &[&str]) -> GroupReferences {
    GroupReferences::Named(names.iter().map(|name| (*name).into()).collect())
}

fn group(name: &str, users: &[i64]) -> GroupRow {
    GroupRow::new(name, Users::Integers(users.to_vec()))
}

/// The snapshot with the groups beta (1, 2), staff (2) and 7 (3).
fn with_groups(snapshot: Snapshot) -> Snapshot {
    let rows = vec![group("beta", &[1, 2]), group("staff", &[2]), group("7", &[3])];
    snapshot.with_groups(GroupReferences::All, rows)
}

fn is_on(snapshot: &Snapshot, subject: Subject<'_>) -> bool {
    let flag = snapshot.flag(KEY).expect("the flag");
    evaluate(KEY, flag, &subject, &OfSnapshot(snapshot, subject)).value
}

fn users_of(snapshot: &Snapshot) -> Vec<i64> {
    (1..=3).filter(|user| is_on(snapshot, Subject::Integer(*user))).collect()
}

#[test]
fn condition_on_groups_matches_the_members() {
    let cases: &[(&str, &str, &[i64])] = &[
        ("in", r#"["beta"]"#, &[1, 2]),
        ("in", r#"["staff"]"#, &[2]),
        ("in", r#"["gone", "staff"]"#, &[2]),
        ("in", r#"["gone"]"#, &[]),
        ("in", r#"["Beta"]"#, &[]),
        ("in", "[7]", &[3]),
        ("startswith", r#"["be"]"#, &[1, 2]),
        ("endswith", r#"["ff"]"#, &[2]),
        ("contains", r#"["t"]"#, &[1, 2]),
        ("regex", r#"["^st"]"#, &[2]),
        ("gt", r#"["c"]"#, &[2]),
    ];
    for (operator, values, expected) in cases {
        let snapshot = with_groups(with_rule(&condition(operator, values, false)));
        assert_eq!(users_of(&snapshot), *expected, "{operator} {values}");
        let negated = with_groups(with_rule(&condition(operator, values, true)));
        let others: Vec<_> = (1..=3).filter(|user| !expected.contains(user)).collect();
        assert_eq!(users_of(&negated), others, "not {operator} {values}");
    }
}

#[test]
fn anonymous_subject_is_in_no_group() {
    let beta = |negate| with_groups(with_rule(&condition("in", r#"["beta"]"#, negate)));
    assert!(!is_on(&beta(false), Subject::Anonymous));
    assert!(is_on(&beta(true), Subject::Anonymous));
}

#[test]
fn list_of_groups_is_there_for_every_subject() {
    for (values, expected) in [("[true]", false), ("[false]", true)] {
        let snapshot = with_groups(with_rule(&condition("isnull", values, false)));
        assert_eq!(is_on(&snapshot, Subject::Anonymous), expected);
        assert_eq!(is_on(&snapshot, Subject::Integer(4)), expected);
    }
}

#[test]
fn condition_is_false_without_groups_with_negate_too() {
    for negate in [false, true] {
        let snapshot = with_rule(&condition("in", r#"["beta"]"#, negate));
        assert!(!is_on(&snapshot, Subject::Integer(1)));
    }
}

#[test]
fn text_key_is_a_member_of_its_group() {
    let snapshot = with_rule(&condition("in", r#"["beta"]"#, false));
    let users = Users::Texts(vec!["ada".into(), "42".into()]);
    let snapshot = snapshot.with_groups(named(&["beta"]), vec![GroupRow::new("beta", users)]);
    assert!(is_on(&snapshot, Subject::Text("ada")));
    assert!(is_on(&snapshot, Subject::Integer(42)));
    assert!(!is_on(&snapshot, Subject::Text("Ada")));
}

#[test]
fn groups_with_the_same_name_count_as_one() {
    let snapshot = with_rule(&condition("in", r#"["beta"]"#, false));
    let rows = vec![group("beta", &[1]), group("beta", &[3])];
    assert_eq!(users_of(&snapshot.with_groups(named(&["beta"]), rows)), [1, 3]);
}

#[test]
fn groups_with_the_same_name_count_as_one_for_text_keys() {
    let snapshot = with_rule(&condition("in", r#"["beta"]"#, false));
    let rows = ["ada", "bob"].map(|user| GroupRow::new("beta", Users::Texts(vec![user.into()])));
    let snapshot = snapshot.with_groups(named(&["beta"]), rows.into());
    assert!(is_on(&snapshot, Subject::Text("ada")) && is_on(&snapshot, Subject::Text("bob")));
}

#[test]
fn groups_are_no_bucketing_unit() {
    let row = FlagRow { bucket_by: Some("groups".into()), ..flag("1", KEY, 50) };
    let snapshot = with_groups(Snapshot::default().next(flags([row])));
    let subject = Subject::Integer(1);
    let flag = snapshot.flag(KEY).expect("the flag");
    let found = evaluate(KEY, flag, &subject, &OfSnapshot(&snapshot, subject));
    assert_eq!((found.value, found.reason), (false, Reason::Default));
}

mod references {
    use super::*;

    #[test]
    fn names_of_rules_and_of_their_segments_are_wanted() {
        let rules = format!(
            r#"[{{"conditions": [{}, {{"segment": "inner"}}]}}]"#,
            condition("in", r#"["beta", 7]"#, true)
        );
        let inner = format!("[{}]", condition("in", r#"["staff"]"#, false));
        let other = format!("[{}]", condition("in", r#"["unused"]"#, false));
        let snapshot = Snapshot::default().next(Loaded {
            segments: Some(vec![segment("1", "inner", &inner), segment("2", "other", &other)]),
            ..flags([flag_with_rules("1", KEY, &rules)])
        });
        assert_eq!(snapshot.wanted_groups(false), Some(named(&["7", "beta", "staff"])));
    }

    #[test]
    fn operator_that_may_match_any_name_wants_all_groups() {
        for operator in ["contains", "startswith", "endswith", "regex", "lt", "version_lt"] {
            let snapshot = with_rule(&condition(operator, r#"["1.0"]"#, false));
            assert_eq!(snapshot.wanted_groups(false), Some(GroupReferences::All), "{operator}");
        }
    }

    #[test]
    fn condition_whose_values_equal_no_name_wants_all_groups() {
        let snapshot = with_rule(&condition("in", "[true]", true));
        assert_eq!(snapshot.wanted_groups(false), Some(GroupReferences::All));
    }

    #[test]
    fn rules_on_other_attributes_want_no_group() {
        let of_plan = r#"{"attribute": "plan", "operator": "in", "values": ["beta"]}"#;
        for condition in [of_plan, &condition("isnull", "[true]", false)] {
            assert_eq!(with_rule(condition).wanted_groups(false), Some(named(&[])));
        }
    }

    #[test]
    fn snapshot_reads_groups_once_they_were_read_for_its_rules() {
        let snapshot = with_rule(&condition("in", r#"["beta"]"#, false));
        assert!(!snapshot.reads_groups());
        assert!(snapshot.with_groups(named(&["beta"]), Vec::new()).reads_groups());
        assert!(!Snapshot::default().with_groups(named(&[]), Vec::new()).reads_groups());
    }

    #[test]
    fn groups_are_read_again_only_for_a_change_or_for_more_names() {
        let both = condition("in", r#"["beta", "staff"]"#, false);
        let snapshot = with_rule(&both).with_groups(named(&["beta", "staff"]), Vec::new());
        assert_eq!(snapshot.wanted_groups(false), None);
        assert_eq!(snapshot.wanted_groups(true), Some(named(&["beta", "staff"])));
        let next = |condition: &str| {
            snapshot.next(flags([flag_with_rules("1", KEY, &rule(condition))])).wanted_groups(false)
        };
        assert_eq!(next(&condition("in", r#"["beta"]"#, false)), None);
        assert_eq!(next(&condition("in", r#"["new"]"#, false)), Some(named(&["new"])));
        assert_eq!(next(&condition("regex", r#"["b"]"#, false)), Some(GroupReferences::All));
    }

    #[test]
    fn all_groups_cover_every_name() {
        let snapshot = with_groups(with_rule(&condition("in", r#"["beta"]"#, false)));
        let after = snapshot.next(flags([flag_with_rules(
            "1",
            KEY,
            &rule(&condition("in", r#"["other"]"#, false)),
        )]));
        assert_eq!(after.wanted_groups(false), None);
    }

    #[test]
    fn groups_that_rules_name_for_the_first_time_are_read_once_more() {
        let one = |name: &str| condition("in", &format!("[\"{name}\"]"), false);
        let first = with_rule(&one("beta")).with_groups(named(&["beta"]), Vec::new());
        assert!(!first.must_read_groups());
        let after = first.next(flags([flag_with_rules("1", KEY, &rule(&one("staff")))]));
        let after = after.with_groups(named(&["staff"]), Vec::new());
        assert!(after.must_read_groups());
        assert_eq!(after.wanted_groups(false), Some(named(&["staff"])));
        assert!(!after.with_groups(named(&["staff"]), Vec::new()).must_read_groups());
    }

    #[test]
    fn group_that_no_rule_named_for_a_while_is_read_again() {
        for operator in ["in", "startswith"] {
            let condition = condition(operator, r#"["beta"]"#, false);
            let before = with_groups(with_rule(&condition));
            let without = before.next(flags([flag("1", KEY, 0)]));
            assert_eq!(without.wanted_groups(false), None);
            let again = without.next(flags([flag_with_rules("1", KEY, &rule(&condition))]));
            assert!(again.wanted_groups(false).is_some());
        }
    }

    #[test]
    fn groups_that_rules_still_name_stay() {
        let before = with_groups(with_rule(&condition("in", r#"["beta", "staff"]"#, false)));
        let beta = rule(&condition("in", r#"["beta"]"#, false));
        let after = before.next(flags([flag_with_rules("1", KEY, &beta)]));
        assert_eq!((after.wanted_groups(false), users_of(&after)), (None, vec![1, 2]));
        assert_eq!(after.groups().expect("they were read").names(), Some(vec!["beta"]));
    }

    #[test]
    fn groups_stay_with_the_next_snapshot() {
        let snapshot = with_groups(with_rule(&condition("in", r#"["beta"]"#, false)));
        let after = snapshot.next(Loaded { values: Some(Vec::new()), ..Loaded::default() });
        assert_eq!(users_of(&after), [1, 2]);
    }
}

mod unreadable {
    use super::*;

    #[test]
    fn last_known_members_stay_and_are_read_again() {
        let good = with_groups(with_rule(&condition("in", r#"["beta"]"#, false)));
        let bad = good.with_unreadable_groups("the table is locked");
        assert_eq!(users_of(&bad), [1, 2]);
        assert!(bad.must_read_groups() && bad.has_unreadable_groups());
        assert_eq!(bad.wanted_groups(false), Some(named(&["beta"])));
        assert_eq!(
            problems(&bad),
            ["the members of groups cannot be read, so the last known members stay: the table is \
              locked"]
        );
    }

    #[test]
    fn conditions_are_false_while_no_members_were_ever_read() {
        let snapshot = with_rule(&condition("in", r#"["beta"]"#, false));
        let bad = snapshot.with_unreadable_groups("no rights");
        assert_eq!(users_of(&bad), [0_i64; 0]);
        assert_eq!(
            problems(&bad),
            ["the members of groups cannot be read, so conditions on groups are false: no rights"]
        );
    }

    #[test]
    fn problem_ends_with_the_next_good_read() {
        let snapshot = with_rule(&condition("in", r#"["beta"]"#, false));
        let good = with_groups(snapshot.with_unreadable_groups("no rights"));
        assert!(!good.must_read_groups() && !good.has_unreadable_groups());
        assert_eq!(problems(&good), [""; 0]);
    }
}

mod missing {
    use super::*;

    #[test]
    fn named_group_that_does_not_exist_is_a_problem_until_no_rule_names_it() {
        let snapshot = with_groups(with_rule(&condition("in", r#"["gone", "beta"]"#, false)));
        assert_eq!(
            problems(&snapshot),
            [r#"the rules of flag "new_checkout" name a group that does not exist: "gone""#]
        );
        assert_eq!(problems(&snapshot.next(flags([flag("1", KEY, 0)]))), [""; 0]);
    }

    #[test]
    fn group_that_several_flags_name_is_one_problem() {
        let rules = rule(&condition("in", r#"["gone", "beta", "lost"]"#, false));
        let rows = ["3", "1", "2"].map(|key| flag_with_rules(key, key, &rules));
        let problem = |group| {
            format!(
                r#"the rules of flag "1" and 2 more name a group that does not exist: "{group}""#
            )
        };
        let after = with_groups(Snapshot::default().next(flags(rows)));
        assert_eq!(problems(&after), [problem("gone"), problem("lost")]);
        assert_eq!(after.problem_count(), 2);
    }

    #[test]
    fn group_that_a_changed_segment_names_is_a_problem() {
        let rules = r#"[{"conditions": [{"segment": "a"}]}]"#;
        let flags = flags([flag_with_rules("1", KEY, rules)]);
        let before = with_groups(Snapshot::default().next(flags));
        let conditions = format!("[{}]", condition("in", r#"["gone"]"#, false));
        let segments = Some(vec![segment("1", "a", &conditions)]);
        let after = before.next(Loaded { segments, ..Loaded::default() });
        assert_eq!(
            problems(&after),
            [r#"the rules of flag "new_checkout" name a group that does not exist: "gone""#]
        );
    }
}

mod changed_members {
    use super::*;

    fn joined_and_left(name: &str, joined: &[i64], left: &[i64]) -> GroupRow {
        GroupRow { absent: Users::Integers(left.to_vec()), ..group(name, joined) }
    }

    /// A snapshot whose rules name the groups beta (1, 2) and gone, which does not exist.
    fn before() -> Snapshot {
        with_groups(with_rule(&condition("in", r#"["beta", "gone"]"#, false)))
    }

    #[test]
    fn users_join_and_leave_and_the_other_members_stay() {
        let after = before().with_members(vec![joined_and_left("beta", &[3], &[1])]);
        let after = after.expect("the group is known");
        assert_eq!(users_of(&after), [2, 3]);
        let (now, then) = (after.groups().expect("groups"), before());
        assert_eq!(now.members("staff"), then.groups().expect("groups").members("staff"));
        assert_eq!(now.names(), None);
    }

    #[test]
    fn members_of_several_groups_change_at_once() {
        let before = with_groups(with_rule(&condition("in", r#"["beta", "staff"]"#, false)));
        let rows =
            vec![joined_and_left("beta", &[], &[1, 2]), joined_and_left("staff", &[1, 3], &[])];
        assert_eq!(users_of(&before.with_members(rows).expect("known groups")), [1, 2, 3]);
    }

    #[test]
    fn group_whose_last_member_left_still_exists() {
        let after = before().with_members(vec![joined_and_left("beta", &[], &[1, 2])]);
        let after = after.expect("the group is known");
        assert_eq!((users_of(&after).len(), problems(&after)), (0, problems(&before())));
        assert_eq!(problems(&after).len(), 1);
    }

    #[test]
    fn no_changed_member_keeps_all() {
        assert_eq!(users_of(&before().with_members(Vec::new()).expect("the same")), [1, 2]);
    }

    #[test]
    fn group_that_is_not_known_needs_all_members() {
        assert!(before().with_members(vec![joined_and_left("gone", &[1], &[])]).is_none());
        // No groups were read, or the keys have another type.
        assert!(with_rule(&condition("in", "[7]", false)).with_members(Vec::new()).is_none());
        let texts = GroupRow::new("beta", Users::Texts(vec!["alice".into()]));
        assert!(before().with_members(vec![texts]).is_none());
    }
}

mod sets {
    use super::*;

    #[test]
    fn references_and_groups_are_empty_only_without_names() {
        let groups = Groups::default();
        assert!(groups.is_empty() && groups.cover(&named(&[])));
        assert!(!groups.cover(&named(&["beta"])) && !groups.cover(&GroupReferences::All));
        assert!(GroupReferences::default().is_empty());
        assert!(!GroupReferences::All.is_empty() && !named(&["beta"]).is_empty());
        let snapshot = with_groups(Snapshot::default());
        let groups = snapshot.groups().expect("they were read");
        assert_eq!((groups.len(), groups.is_empty()), (3, false));
    }
}
