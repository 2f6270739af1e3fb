//! Rules and segments over loads: what changes, what stays, and what is a problem.

use std::sync::Arc;

use flagstaff::evaluate::{Evaluation, Reason, evaluate};
use flagstaff::flag::Flag;
use flagstaff::row::{Fault, FlagRow, SegmentRow, ValueRow};
use flagstaff::snapshot::{Loaded, Snapshot};
use flagstaff::subject::Subject;
use flagstaff::targeting::Dependent;

use crate::attributes;
use crate::rows::{
    allow, allowed_users, flag, flag_with_rules, flags, problems, segment, segments, snapshot,
    value, values,
};

const GERMANY: &str = r#"[{"attribute": "country", "operator": "in", "values": ["DE"]}]"#;
const FRANCE: &str = r#"[{"attribute": "country", "operator": "in", "values": ["FR"]}]"#;

fn rule(conditions: &str) -> String {
    format!(r#"[{{"name": "beta", "conditions": {conditions}}}]"#)
}

fn of_segment(key: &str) -> String {
    rule(&format!(r#"[{{"segment": "{key}"}}]"#))
}

/// The evaluation of the flag `a` in this country.
fn in_country(snapshot: &Snapshot, country: &str) -> Evaluation {
    let flag = snapshot.flag("a").expect("the flag");
    evaluate("a", flag, &Subject::Integer(1), &attributes::in_country(country))
}

fn germans(snapshot: &Snapshot) -> bool {
    in_country(snapshot, "DE").value
}

fn rules_of(snapshot: &Snapshot) -> &Arc<flagstaff::row_rules::RowRules> {
    snapshot.flag("a").expect("the flag").rules().expect("rules")
}

/// The flag `a` with good rules.
fn good() -> Loaded {
    flags([flag_with_rules("1", "a", &rule(GERMANY))])
}

fn bad_rules(pk: &str, key: &str) -> FlagRow {
    flag_with_rules(pk, key, r#"[{"name": "beta", "conditions": [{"op": 1}]}]"#)
}

const WHY: &str = r#"rule 1 ("beta"), condition 1: the member "op" is not known to this version; use "attribute", "operator", "values", "negate", "segment", "bucket", "flag", "is""#;

mod rules {
    use super::*;

    #[test]
    fn flag_without_rules_has_none() {
        let rows = [
            flag("1", "a", 0),
            flag_with_rules("2", "b", "[]"),
            flag_with_rules("3", "c", " [ ] "),
        ];
        let after = snapshot([flags(rows)]);
        assert!(after.flags().all(|(_, flag)| flag.rules().is_none()));
        assert!(problems(&after).is_empty());
    }

    #[test]
    fn changed_and_removed_rules_replace_the_earlier_ones() {
        let before = snapshot([good()]);
        let after = before.next(flags([flag_with_rules("1", "a", &rule(FRANCE))]));
        assert_eq!((germans(&before), germans(&after)), (true, false));
        for none in [flag("1", "a", 0), flag_with_rules("1", "a", "[]")] {
            assert!(before.next(flags([none])).flag("a").expect("a flag").rules().is_none());
        }
    }

    #[test]
    fn unchanged_rules_are_shared() {
        let row = || flag_with_rules("1", "a", &rule(GERMANY));
        let before = snapshot([flags([row()])]);
        let after = before.next(flags([FlagRow { rollout_percent: Some(5), ..row() }]));
        assert!(Arc::ptr_eq(rules_of(&before), rules_of(&after)));
    }

    #[test]
    fn unreadable_rules_are_not_parsed_again() {
        let before = snapshot([flags([bad_rules("1", "a")])]);
        let after = before.next(flags([bad_rules("1", "a")]));
        assert!(Arc::ptr_eq(rules_of(&before), rules_of(&after)));
    }
}

mod unreadable_rules {
    use super::*;

    #[test]
    fn last_good_rules_stay_and_are_a_problem() {
        let before = snapshot([good()]);
        let after = before.next(flags([bad_rules("1", "a")])).next(flags([bad_rules("1", "a")]));
        assert!(germans(&after) && !in_country(&after, "FR").value);
        let expected =
            format!(r#"the rules of flag "a" cannot be read, so its last good rules stay: {WHY}"#);
        assert_eq!(problems(&after), [expected]);
    }

    #[test]
    fn flag_without_last_good_rules_is_an_error() {
        let after = snapshot([flags([bad_rules("1", "a")])]);
        let found = in_country(&after, "DE");
        assert_eq!((found.value, found.reason, found.rule), (false, Reason::Error, None));
        let expected = format!(
            r#"the rules of flag "a" cannot be read, so it returns the default of the call: {WHY}"#
        );
        assert_eq!(problems(&after), [expected]);
    }

    #[test]
    fn flag_that_had_no_rules_goes_on_without_them() {
        let before = snapshot([flags([flag("1", "a", 100)])]);
        let bad = FlagRow { rollout_percent: Some(100), ..bad_rules("1", "a") };
        let found = in_country(&before.next(flags([bad])), "DE");
        assert_eq!((found.value, found.reason), (true, Reason::Static));
    }

    #[test]
    fn other_columns_are_those_of_the_row() {
        let before = snapshot([good()]);
        let killed = FlagRow { enabled: Some(false), ..bad_rules("1", "a") };
        assert_eq!(in_country(&before.next(flags([killed])), "DE").reason, Reason::Disabled);
        let rolled_out = FlagRow { rollout_percent: Some(100), ..bad_rules("1", "a") };
        let found = in_country(&before.next(flags([rolled_out])), "FR");
        assert_eq!((found.value, found.reason), (true, Reason::Static));
    }

    #[test]
    fn disabled_flag_and_allowed_users_decide_first() {
        let killed = FlagRow { enabled: Some(false), ..bad_rules("1", "a") };
        assert_eq!(in_country(&snapshot([flags([killed])]), "DE").reason, Reason::Disabled);
        let allowed = snapshot([flags([bad_rules("1", "a")]), allowed_users([allow("1", &[1])])]);
        let found = in_country(&allowed, "DE");
        assert_eq!((found.value, found.reason), (true, Reason::TargetingMatch));
    }

    #[test]
    fn repaired_or_restored_rules_are_used_and_no_problem() {
        let bad = || flags([bad_rules("1", "a")]);
        for after in [snapshot([bad(), good()]), snapshot([good(), bad(), good()])] {
            assert!(germans(&after) && problems(&after).is_empty());
        }
    }

    #[test]
    fn last_good_rules_follow_the_row_to_another_key_and_stay_with_no_other_row() {
        let before = snapshot([flags([flag_with_rules("1", "old", &rule(GERMANY))])]);
        assert!(germans(&before.next(flags([bad_rules("1", "a")]))));
        let after = snapshot([good(), flags([bad_rules("2", "a")])]);
        assert_eq!(in_country(&after, "DE").reason, Reason::Error);
    }

    #[test]
    fn problem_ends_with_the_row() {
        let after = snapshot([flags([bad_rules("1", "a")]), values([]), flags([])]);
        assert!(problems(&after).is_empty());
    }

    #[test]
    fn problems_are_in_the_order_of_the_keys() {
        let keys = ["c", "a", "d", "b"];
        let after = snapshot([flags(keys.map(|key| bad_rules(key, key)))]);
        let named: Vec<_> = problems(&after).iter().map(|text| text[19..20].to_owned()).collect();
        assert_eq!(named, ["a", "b", "c", "d"]);
    }
}

mod patterns {
    use super::*;

    const TOO_MANY: &str = "all rules and segments have over 1,000 regular expressions; \
                            use other operators, or share a segment";

    fn conditions(patterns: usize, pattern: &str) -> String {
        let values = vec![format!("{pattern:?}"); patterns].join(",");
        format!(r#"[{{"attribute": "country", "operator": "regex", "values": [{values}]}}]"#)
    }

    fn with_patterns(pk: usize, pattern: &str) -> FlagRow {
        let pk = format!("{pk:02}");
        flag_with_rules(&pk, &pk, &rule(&conditions(100, pattern)))
    }

    /// Nine flags with 100 patterns each, and a segment with 100.
    fn full() -> Snapshot {
        snapshot([Loaded {
            flags: Some((0..9).map(|pk| with_patterns(pk, "D")).collect()),
            segments: Some(vec![segment("1", "all", &conditions(100, "D"))]),
            ..Loaded::default()
        }])
    }

    fn is_in(snapshot: &Snapshot, key: &str, country: &str) -> bool {
        let flag = snapshot.flag(key).expect("a flag");
        evaluate(key, flag, &Subject::Anonymous, &attributes::in_country(country)).value
    }

    #[test]
    fn thousand_patterns_are_used() {
        let found = full();
        assert!(problems(&found).is_empty() && is_in(&found, "08", "DE"));
    }

    #[test]
    fn rules_with_more_patterns_are_set_aside_alone() {
        let rows = (0..12).map(|pk| with_patterns(pk, "D")).chain([flag_with_rules(
            "12",
            "12",
            &rule(GERMANY),
        )]);
        let after = full().next(flags(rows));
        let problem = |key: &str| {
            format!(
                r#"the rules of flag "{key}" cannot be read, so it returns the default of the call: {TOO_MANY}"#
            )
        };
        assert_eq!(problems(&after), ["09", "10", "11"].map(problem));
        assert!(is_in(&after, "08", "DE") && is_in(&after, "12", "DE"));
    }

    #[test]
    fn segment_with_more_patterns_is_set_aside_alone() {
        let rows =
            [("1", "all"), ("2", "more")].map(|(pk, key)| segment(pk, key, &conditions(100, "D")));
        assert_eq!(
            problems(&full().next(segments(rows))),
            [format!(
                r#"the conditions of segment "more" cannot be read, so conditions that name it are false: {TOO_MANY}"#
            )]
        );
    }

    #[test]
    fn patterns_are_replaced_at_the_limit() {
        let rows = (0..9).map(|pk| with_patterns(pk, if pk == 3 { "F" } else { "D" }));
        let after = full().next(flags(rows));
        assert!(problems(&after).is_empty());
        assert!(is_in(&after, "03", "FR") && !is_in(&after, "03", "DE"));
    }

    #[test]
    fn rules_are_read_once_there_is_room() {
        let rows = || (0..10).map(|pk| with_patterns(pk, "D"));
        let after = full().next(flags(rows()));
        assert_eq!(problems(&after).len(), 1);
        let freed = after.next(flags(rows().skip(1)));
        // The patterns that this load has freed are room for the next one.
        let after = freed.next(flags(rows().skip(1)));
        assert!(problems(&after).is_empty() && is_in(&after, "09", "DE"));
    }
}

mod segments_of_rules {
    use super::*;

    fn with_segment(conditions: &str) -> Snapshot {
        snapshot([Loaded {
            flags: Some(vec![flag_with_rules("1", "a", &of_segment("dach"))]),
            segments: Some(vec![segment("1", "dach", conditions)]),
            ..Loaded::default()
        }])
    }

    #[test]
    fn flag_uses_the_current_conditions_of_its_segment() {
        let found = with_segment(GERMANY);
        assert_eq!((germans(&found), in_country(&found, "FR").value), (true, false));
        let after = found.next(segments([segment("1", "dach", FRANCE)]));
        assert_eq!((germans(&after), in_country(&after, "FR").value), (false, true));
        assert!(!germans(&found.next(segments([]))));
    }

    #[test]
    fn segment_that_no_rule_names_shares_the_flags() {
        let before = with_segment(GERMANY);
        let row = || segment("1", "dach", GERMANY);
        let after = before.next(segments([row(), segment("2", "other", FRANCE)]));
        let flags = [&before, &after].map(|snapshot| snapshot.flag("a").expect("the flag"));
        assert!(std::ptr::eq(flags[0], flags[1]));
    }

    #[test]
    fn load_of_users_keeps_the_segments() {
        assert!(germans(&with_segment(GERMANY).next(allowed_users([]))));
    }

    #[test]
    fn segment_that_several_rows_name_is_one_problem() {
        let of_segment = r#"[{"conditions": [{"segment": "x"}]}]"#;
        let rows = ["b", "a", "c"].map(|key| flag_with_rules(key, key, of_segment));
        let rules = Some(r#"[{"conditions": [{"segment": "x"}], "value": 1}]"#.into());
        let value = ValueRow { rules, ..value("1", "limit", "0") };
        let after = snapshot([Loaded { values: Some(vec![value]), ..flags(rows) }]);
        assert_eq!(
            problems(&after),
            [r#"the rules of flag "a" and 3 more name a segment that does not exist: "x""#]
        );
    }

    #[test]
    fn problem_of_a_segment_without_readable_conditions_follows_when_it_is_deleted() {
        let before = with_segment("[1]");
        assert_eq!(problems(&before).len(), 1);
        let after = before.next(segments([]));
        let expected = r#"the rules of flag "a" name a segment that does not exist: "dach""#;
        assert_eq!(problems(&after), [expected]);
    }

    #[test]
    fn segment_that_does_not_exist_is_a_problem_of_the_flag() {
        let rules = format!(
            r#"[{{"conditions": {GERMANY}}}, {{"conditions": [{{"segment": "x"}}, {{"segment": "y"}}]}}, {{"conditions": [{{"segment": "y"}}]}}]"#
        );
        let before = snapshot([flags([flag_with_rules("1", "a", &rules)])]);
        let of =
            |key| format!(r#"the rules of flag "a" name a segment that does not exist: "{key}""#);
        assert_eq!(problems(&before), [of("x"), of("y")]);
        let after = before.next(segments([segment("1", "y", GERMANY)]));
        assert_eq!(problems(&after), [of("x")]);
        assert_eq!(problems(&after.next(segments([]))), [of("x"), of("y")]);
    }

    #[test]
    fn unreadable_segment_keeps_its_last_good_conditions() {
        let after = with_segment(GERMANY).next(segments([segment("1", "dach", "[]")]));
        assert!(germans(&after));
        let expected = r#"the conditions of segment "dach" cannot be read, so its last good conditions stay: there are no conditions, which would include everyone; add at least one"#;
        assert_eq!(problems(&after), [expected]);
    }

    #[test]
    fn unreadable_segment_without_last_good_conditions_is_false() {
        let after = with_segment("[1]");
        assert!(!germans(&after));
        let expected = r#"the conditions of segment "dach" cannot be read, so conditions that name it are false: condition 1: a condition must be an object, not a number"#;
        assert_eq!(problems(&after), [expected]);
    }

    #[test]
    fn segment_keeps_its_last_good_conditions_under_another_key() {
        let before = with_segment(GERMANY);
        let rows = Loaded {
            flags: Some(vec![flag_with_rules("1", "a", &of_segment("new"))]),
            ..segments([segment("1", "new", "{}")])
        };
        assert!(germans(&before.next(rows)));
    }

    #[test]
    fn conditions_that_are_null_are_a_problem() {
        let row = SegmentRow { conditions: Err(Fault::Null), ..segment("1", "dach", "") };
        let after = with_segment(GERMANY).next(segments([row]));
        assert!(germans(&after));
        let expected = r#"the conditions of segment "dach" cannot be read, so its last good conditions stay: its JSON text is NULL"#;
        assert_eq!(problems(&after), [expected]);
    }

    #[test]
    fn segment_without_a_key_keeps_its_last_good_version() {
        let lost = || SegmentRow { key: Err(Fault::Null), ..segment("1", "", FRANCE) };
        let before = with_segment(GERMANY);
        let after = before.next(segments([lost()]));
        assert!(germans(&after));
        assert_eq!(problems(&after), [r#"segment "pk 1" is set aside: its key is NULL"#]);
        let taken = before.next(segments([lost(), segment("2", "dach", FRANCE)]));
        assert!(!germans(&taken));
    }

    #[test]
    fn segments_with_the_same_key_keep_the_last_good_version() {
        let rows = || segments([segment("2", "dach", FRANCE), segment("3", "dach", FRANCE)]);
        let after = with_segment(GERMANY).next(rows());
        assert!(germans(&after));
        let expected = r#"segment "dach" is set aside: several rows have this key"#;
        assert_eq!(problems(&after), [expected]);
    }

    #[test]
    fn malformed_row_of_a_flag_gets_the_current_segments() {
        let bad = FlagRow { enabled: None, ..flag_with_rules("1", "a", "[]") };
        let rows = Loaded { flags: Some(vec![bad]), ..segments([segment("1", "dach", FRANCE)]) };
        let after = with_segment(GERMANY).next(rows);
        assert_eq!((germans(&after), in_country(&after, "FR").value), (false, true));
    }
}

mod dependence_on_the_subject {
    use super::*;

    fn flag_of(row: FlagRow) -> Flag {
        let rows = [segment("1", "dach", GERMANY)];
        let after = snapshot([segments(rows), flags([row])]);
        after.flag("a").expect("the flag").clone()
    }

    #[test]
    fn flag_whose_rules_read_attributes_depends_on_the_subject() {
        for rules in [rule(GERMANY), of_segment("dach")] {
            for percent in [0, 50, 100] {
                let row =
                    FlagRow { rollout_percent: Some(percent), ..flag_with_rules("1", "a", &rules) };
                let flag = flag_of(row);
                assert!(flag.depends_on_subject());
                assert!(!Flag { enabled: false, ..flag }.depends_on_subject());
            }
        }
    }

    #[test]
    fn flag_whose_rules_never_match_depends_as_without_them() {
        let rules = of_segment("gone");
        for (percent, depends) in [(0, false), (1, true), (99, true), (100, false)] {
            let row =
                FlagRow { rollout_percent: Some(percent), ..flag_with_rules("1", "a", &rules) };
            let flag = flag_of(row);
            assert_eq!(flag.depends_on_subject(), depends);
            let allowed_users = crate::rows::integers(&[1]);
            let expected = percent < 100;
            assert_eq!(Flag { allowed_users, ..flag }.depends_on_subject(), expected);
        }
    }

    #[test]
    fn flag_with_unreadable_rules_depends_on_its_allowed_users_alone() {
        let row = FlagRow { rollout_percent: Some(50), ..bad_rules("1", "a") };
        let flag = flag_of(row);
        assert!(!flag.depends_on_subject());
        let allowed_users = crate::rows::integers(&[1]);
        assert!(Flag { allowed_users, ..flag }.depends_on_subject());
    }

    #[test]
    fn attributes_of_the_rules_are_listed_once_and_in_order() {
        let rules = r#"[{"conditions": [{"attribute": "plan", "operator": "in", "values": [1]},
            {"attribute": "age", "operator": "in", "values": [1]}, {"segment": "dach"}]},
            {"conditions": [{"attribute": "plan", "operator": "in", "values": [2]}]}]"#;
        let flag = flag_of(flag_with_rules("1", "a", rules));
        let rules = flag.rules().and_then(|rules| rules.rules()).expect("rules");
        let names: Vec<&str> = rules.attributes().iter().map(|name| &**name).collect();
        assert_eq!(names, ["age", "country", "plan"]);
        assert_eq!(rules.segment_keys(), ["dach".into()]);
    }
}

#[test]
fn unchanged_rules_of_a_thousand_flags_are_all_shared() {
    let conditions = |n: u32| {
        format!(r#"[{{"attribute": "country", "operator": "in", "values": ["DE", "{n}"]}}]"#)
    };
    let load = || Loaded {
        flags: Some(
            (0..1_000)
                .map(|n| {
                    let rules = of_segment(&(n % 100).to_string());
                    flag_with_rules(&n.to_string(), &format!("flag {n}"), &rules)
                })
                .collect(),
        ),
        segments: Some(
            (0..100).map(|n| segment(&n.to_string(), &n.to_string(), &conditions(n))).collect(),
        ),
        ..Loaded::default()
    };
    let first = snapshot([load()]);
    let second = first.next(load());
    let shared = |key: &str| {
        let rules = |snapshot: &Snapshot| snapshot.flag(key)?.rules().cloned();
        Arc::ptr_eq(&rules(&first).expect("rules"), &rules(&second).expect("rules"))
    };
    assert!((0..1_000).all(|n| shared(&format!("flag {n}"))));
}
