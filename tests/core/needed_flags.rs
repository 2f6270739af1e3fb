//! Conditions on flags: their results, what a row depends on by them, and what has no end.

use std::sync::Arc;

use flagstaff::assign::assign;
use flagstaff::declared::{Declared, DeclaredFlag};
use flagstaff::evaluate::{Evaluation, evaluate, evaluate_value};
use flagstaff::flag::Flag;
use flagstaff::overrides::Overrides;
use flagstaff::prerequisites::Prerequisites;
use flagstaff::row::{ExperimentRow, FlagRow, ValueRow};
use flagstaff::rules::{Attribute, Attributes, Needs, Rules};
use flagstaff::snapshot::Snapshot;
use flagstaff::steps::{self, Step};
use flagstaff::subject::Subject;
use flagstaff::targeting::Dependent;
use flagstaff::token_set::Relation;
use flagstaff::usage::{Counted, CounterRegistry, UnknownKeys};
use proptest::prelude::*;

use crate::attributes::{Given, given};
use crate::rows::{
    allow, allowed_users, asked, experiment, experiments, flag, flag_with_rules, flags, problems,
    segment, segments, snapshot, value, values,
};

const USER: Subject<'_> = Subject::Integer(1);

fn needs(key: &str) -> String {
    needs_result(key, true)
}

fn needs_result(key: &str, is: bool) -> String {
    format!(r#"[{{"conditions": [{{"flag": "{key}", "is": {is}}}]}}]"#)
}

/// A flag at 0 % whose only rule needs another one. Its key is its primary key.
fn needing(key: &str, needed: &str) -> FlagRow {
    flag_with_rules(key, key, &needs(needed))
}

/// The attributes of a subject, with the flags of a snapshot.
pub(crate) struct With<'a> {
    pub(crate) given: Given,
    subject: Subject<'a>,
    flags: Prerequisites<'a>,
}

impl<'a> With<'a> {
    fn new(snapshot: &'a Snapshot, attributes: &str) -> Self {
        Self::of(snapshot, given(attributes), USER)
    }

    pub(crate) fn of(snapshot: &'a Snapshot, given: Given, subject: Subject<'a>) -> Self {
        let flags = Prerequisites { snapshot, overrides: None, is_use: false };
        Self { given, subject, flags }
    }
}

impl Attributes for With<'_> {
    fn read<T>(&self, name: &str, with: impl FnOnce(Attribute<'_>) -> T) -> T {
        self.given.read(name, with)
    }

    fn utc(&self, wall: i64) -> i64 {
        self.given.utc(wall)
    }

    fn flag(&self, key: &str) -> Option<bool> {
        self.flags.result(key, &self.subject, self)
    }
}

fn found(snapshot: &Snapshot, key: &str, attributes: &With<'_>) -> Evaluation {
    evaluate(key, snapshot.flag(key).expect("the flag"), &attributes.subject, attributes)
}

fn is_on(snapshot: &Snapshot, key: &str) -> bool {
    found(snapshot, key, &With::new(snapshot, "{}")).value
}

/// Whether a flag is on that needs this result of the flag `a`.
fn is_on_for(rows: impl IntoIterator<Item = FlagRow>, is: bool) -> bool {
    let row = flag_with_rules("z", "z", &needs_result("a", is));
    is_on(&snapshot([flags(rows.into_iter().chain([row]))]), "z")
}

fn rules_of<'a>(snapshot: &'a Snapshot, key: &str) -> &'a Rules {
    snapshot.flag(key).and_then(Flag::rules).and_then(|rules| rules.rules()).expect("rules")
}

/// Flags of which each needs the next one, the last one at 100 %.
fn chain(keys: &[&str]) -> Vec<FlagRow> {
    let last = keys.len() - 1;
    let mut rows: Vec<_> = keys.windows(2).map(|pair| needing(pair[0], pair[1])).collect();
    rows.push(flag(keys[last], keys[last], 100));
    rows
}

mod results {
    use super::*;

    #[test]
    fn condition_is_true_for_the_result_that_it_asks_for() {
        assert_eq!([true, false].map(|is| is_on_for([flag("a", "a", 100)], is)), [true, false]);
        let rule = r#"{"attribute": "plan", "operator": "isnull", "values": [true]}"#;
        let rules = format!(r#"[{{"conditions": [{rule}], "rollout_percent": 0}}]"#);
        let nobody = flag_with_rules("a", "a", &rules);
        assert_eq!([true, false].map(|is| is_on_for([nobody.clone()], is)), [false, true]);
    }

    #[test]
    fn flag_that_is_off_unknown_or_unreadable_makes_it_false_whatever_it_asks_for() {
        let off = FlagRow { enabled: Some(false), ..flag("a", "a", 100) };
        let unreadable = flag_with_rules("a", "a", "[7]");
        let braked = flag("a", "a", 0);
        for rows in [vec![off], vec![], vec![unreadable], vec![needing("a", "a")], vec![braked]] {
            let results = [true, false].map(|is| is_on_for(rows.clone(), is));
            assert_eq!(results, [false, false], "{rows:?}");
        }
    }

    #[test]
    fn last_good_rules_of_a_needed_flag_decide() {
        let rule =
            r#"[{"conditions": [{"attribute": "plan", "operator": "in", "values": ["pro"]}]}]"#;
        let good = flags([flag_with_rules("a", "a", rule), needing("z", "a")]);
        let bad = flags([flag_with_rules("a", "a", "[7]"), needing("z", "a")]);
        let snapshot = snapshot([good, bad]);
        assert!(found(&snapshot, "z", &With::new(&snapshot, r#"{"plan": "pro"}"#)).value);
    }

    #[test]
    fn needed_flag_has_its_own_unit_allowed_users_and_rules() {
        let by_organization =
            FlagRow { bucket_by: Some("organization".into()), ..flag("a", "a", 50) };
        let allowed = flag("b", "b", 0);
        let rows = flags([by_organization, allowed, needing("y", "a"), needing("z", "b")]);
        let loaded = snapshot([rows, allowed_users([allow("b", &[1])])]);
        for name in ["acme", "globex", "initech", "hooli"] {
            let attributes = With::new(&loaded, &format!(r#"{{"organization": "{name}"}}"#));
            let results = ["a", "y"].map(|key| found(&loaded, key, &attributes).value);
            assert_eq!(results[0], results[1], "{name}");
        }
        assert!(is_on(&loaded, "z"));
    }

    #[test]
    fn flag_turned_off_makes_the_opposite_of_what_needs_it_no_truer() {
        let opposite = flag_with_rules("z", "z", &needs_result("a", false));
        for (enabled, percent, is) in [(true, 100, false), (true, 0, false), (false, 100, false)] {
            let row = FlagRow { enabled: Some(enabled), ..flag("b", "b", percent) };
            let loaded = snapshot([flags([opposite.clone(), needing("a", "b"), row])]);
            assert_eq!(is_on(&loaded, "z"), is, "{enabled} {percent}");
        }
    }

    #[test]
    fn segment_may_need_a_flag() {
        let of_segment = |negate| {
            let rule = format!(r#"[{{"conditions": [{{"segment": "s", "negate": {negate}}}]}}]"#);
            flag_with_rules(if negate { "y" } else { "z" }, if negate { "y" } else { "z" }, &rule)
        };
        let on = segments([segment("1", "s", r#"[{"flag": "a", "is": true}]"#)]);
        for (percent, enabled, results) in
            [(100, true, [true, false]), (0, true, [false, false]), (100, false, [false, false])]
        {
            let row = FlagRow { enabled: Some(enabled), ..flag("a", "a", percent) };
            let loaded = snapshot([on.clone(), flags([row, of_segment(false), of_segment(true)])]);
            assert_eq!(["z", "y"].map(|key| is_on(&loaded, key)), results);
        }
    }

    #[test]
    fn values_and_experiments_may_need_a_flag() {
        let rules = r#"[{"conditions": [{"flag": "a", "is": true}], "value": 2}]"#;
        let of_value = ValueRow { rules: Some(rules.into()), ..value("1", "limit", "1") };
        let of_experiment =
            ExperimentRow { rules: Some(needs("a").into()), ..experiment("1", "x") };
        for (percent, is_in) in [(100, true), (0, false)] {
            let loaded = snapshot([
                flags([flag("a", "a", percent)]),
                values([of_value.clone()]),
                experiments([of_experiment.clone()]),
            ]);
            let attributes = With::new(&loaded, "{}");
            let rules = loaded.value("limit").and_then(|stored| stored.rules()).expect("rules");
            let found = evaluate_value("limit", &rules.targeting, &USER, &attributes);
            assert_eq!(found.value, is_in);
            let found = assign(loaded.experiment("x").expect("it"), &USER, &attributes);
            assert_eq!(found.variant.is_some(), is_in);
        }
    }

    #[test]
    fn flag_turned_off_lets_nobody_into_an_experiment_that_excludes_its_users() {
        let rule =
            r#"{"conditions": [{"attribute": "plan", "operator": "isnull", "values": [true]}]}"#;
        let out = r#"{"conditions": [{"flag": "a", "is": true}], "rollout_percent": 0}"#;
        let rules = format!("[{out}, {rule}]");
        let row = ExperimentRow { rules: Some(rules.into()), ..experiment("1", "x") };
        for enabled in [true, false] {
            let needed = FlagRow { enabled: Some(enabled), ..flag("a", "a", 100) };
            let loaded = snapshot([flags([needed]), experiments([row.clone()])]);
            let attributes = With::new(&loaded, "{}");
            let experiment = loaded.experiment("x").expect("it");
            let found = assign(experiment, &USER, &attributes);
            assert_eq!(found.variant, None, "{enabled}");
            let steps =
                steps::of_variant(experiment, found, None, &USER, &attributes, attributes.flags);
            let decides: Vec<_> = steps.iter().filter(|step| step.decides).collect();
            let names: Vec<_> = decides.iter().map(|step| &*step.name).collect();
            assert_eq!(names, [if enabled { "rule 1" } else { "rule 2" }]);
        }
    }

    #[test]
    fn override_decides_in_place_of_a_needed_flag() {
        let loaded = snapshot([flags([flag("a", "a", 100), needing("z", "a")])]);
        let is_on = |overrides: &Overrides| {
            let mut attributes = With::new(&loaded, "{}");
            attributes.flags.overrides = Some(overrides);
            found(&loaded, "z", &attributes).value
        };
        let test = |value| Overrides::new([("a".to_owned(), value)], [], []);
        assert_eq!([true, false].map(|value| is_on(&test(value))), [true, false]);
        let of_user = |user: &str| {
            let of_user = [("a".to_owned(), [(user.to_owned(), false)])];
            Overrides::default().with_flags_of_users(of_user)
        };
        assert_eq!(["1", "2"].map(|user| is_on(&of_user(user))), [false, true]);
        assert!(!is_on(&Overrides::default().with_forced_off(["a".to_owned()])));
        assert!(is_on(&Overrides::default().with_forced_on(["a".to_owned()])));
    }

    #[test]
    fn flag_that_is_forced_off_makes_the_condition_false_whatever_it_asks_for() {
        let row = flag_with_rules("z", "z", &needs_result("a", false));
        let rule = r#"{"attribute": "plan", "operator": "in", "values": ["pro"]}"#;
        let needed = flag_with_rules("a", "a", &format!(r#"[{{"conditions": [{rule}]}}]"#));
        let loaded = snapshot([flags([needed, row])]);
        assert!(is_on(&loaded, "z"));
        let overrides = Overrides::default().with_forced_off(["a".to_owned()]);
        let mut attributes = With::new(&loaded, "{}");
        attributes.flags.overrides = Some(&overrides);
        assert!(!found(&loaded, "z", &attributes).value);
    }

    #[test]
    fn needed_flag_is_not_counted_but_its_use_is_noted() {
        let loaded = snapshot([flags([flag("a", "a", 100), needing("z", "a")])]);
        let registry = CounterRegistry::default();
        registry.add(&loaded);
        let mut attributes = With::new(&loaded, "{}");
        let taken = || registry.take(&UnknownKeys::new());
        found(&loaded, "z", &attributes);
        assert_eq!(taken(), []);
        attributes.flags.is_use = true;
        found(&loaded, "z", &attributes);
        let [usage] = &taken()[..] else { panic!("one row") };
        let is_needed = matches!(usage.counted, Counted::Served(flagstaff::counters::Bulk::Needed));
        assert_eq!((&*usage.key, usage.count, is_needed), ("a", 0, true));
    }
}

mod ends {
    use super::*;

    #[test]
    fn four_flags_one_needed_by_the_other_are_followed() {
        let loaded = snapshot([flags(chain(&["a", "b", "c", "d", "e"]))]);
        assert!(is_on(&loaded, "a") && problems(&loaded).is_empty());
        assert_eq!(rules_of(&loaded, "a").needs().depth, Needs::MAX_DEPTH);
    }

    #[test]
    fn fifth_one_is_not_followed_and_a_problem() {
        let loaded = snapshot([flags(chain(&["a", "b", "c", "d", "e", "f"]))]);
        assert_eq!(["a", "b"].map(|key| is_on(&loaded, key)), [false, true]);
        let expected = r#"the rules of flag "a" need a flag whose own conditions form a circle, or go more than four flags deep, so that theirs are false: "b""#;
        assert_eq!(problems(&loaded), [expected]);
    }

    #[test]
    fn circle_is_false_and_a_problem_and_so_is_what_needs_it() {
        let rows = [needing("a", "b"), needing("b", "a"), needing("c", "a")];
        let loaded = snapshot([flags(rows)]);
        assert_eq!(["a", "b", "c"].map(|key| is_on(&loaded, key)), [false; 3]);
        let [of_a, of_b] = &problems(&loaded)[..] else { panic!("two problems") };
        assert!(of_a.starts_with(r#"the rules of flag "b" and 1 more need a flag"#), "{of_a}");
        assert!(of_b.ends_with(r#"so that theirs are false: "b""#), "{of_b}");
    }

    #[test]
    fn rest_of_a_flag_in_a_circle_decides() {
        let rules = r#"[{"conditions": [{"flag": "a", "is": true}]},
            {"conditions": [{"flag": "b", "is": true}]}]"#;
        let loaded = snapshot([flags([flag_with_rules("a", "a", rules), flag("b", "b", 100)])]);
        assert!(is_on(&loaded, "a"));
    }

    #[test]
    fn circle_through_a_segment_is_found() {
        let of_segment = r#"[{"conditions": [{"segment": "s"}]}]"#;
        let conditions = segments([segment("1", "s", r#"[{"flag": "a", "is": true}]"#)]);
        let loaded = snapshot([conditions, flags([flag_with_rules("a", "a", of_segment)])]);
        assert!(!is_on(&loaded, "a") && problems(&loaded).len() == 1);
    }

    #[test]
    fn flag_that_does_not_exist_is_a_problem() {
        let loaded = snapshot([flags([needing("a", "gone"), needing("b", "gone")])]);
        let expected =
            r#"the rules of flag "a" and 1 more need a flag that does not exist: "gone""#;
        assert_eq!(problems(&loaded), [expected]);
    }

    #[test]
    fn declared_flag_without_a_row_exists_and_is_off() {
        let declared = Declared {
            flags: [("a".into(), DeclaredFlag { client_side: false })].into(),
            values: [].into(),
        };
        let row = flag_with_rules("z", "z", &needs_result("a", false));
        let loaded = snapshot([flags([row])]).with_declared(&Arc::new(declared));
        assert!(!is_on(&loaded, "z") && problems(&loaded).is_empty());
    }
}

mod dependence {
    use super::*;

    const GERMANY: &str =
        r#"[{"conditions": [{"attribute": "country", "operator": "in", "values": ["DE"]}]}]"#;

    fn attributes_of(snapshot: &Snapshot, key: &str) -> Vec<String> {
        snapshot.flag(key).expect("it").attributes().map(Into::into).collect()
    }

    #[test]
    fn row_reads_the_attributes_and_units_of_all_flags_that_it_needs() {
        let needed = FlagRow {
            bucket_by: Some("organization".into()),
            rollout_percent: Some(50),
            ..flag_with_rules("c", "c", GERMANY)
        };
        let of_value = ValueRow {
            rules: Some(r#"[{"conditions": [{"flag": "a", "is": true}], "value": 2}]"#.into()),
            ..value("1", "limit", "1")
        };
        let rows = flags([needing("a", "b"), needing("b", "c"), needed]);
        let loaded = snapshot([rows, values([of_value])]);
        assert_eq!(attributes_of(&loaded, "a"), ["country", "organization"]);
        let rules = loaded.value("limit").and_then(|stored| stored.rules()).expect("rules");
        assert_eq!(rules.attributes().collect::<Vec<_>>(), ["country", "organization"]);
        let needs = rules_of(&loaded, "a").needs();
        let all = |names: &std::collections::BTreeSet<Box<str>>| {
            names.iter().cloned().collect::<String>()
        };
        assert_eq!((all(&needs.flags), all(&needs.units)), ("bc".into(), "organization".into()));
        assert!(
            loaded
                .flag("a")
                .is_some_and(|flag| flag.depends_on_subject() && !flag.depends_on_key())
        );
    }

    #[test]
    fn row_depends_on_the_key_if_a_needed_flag_does() {
        let depends = |row: FlagRow, users: &[i64]| {
            let rows = flags([row, needing("z", "a")]);
            let loaded = snapshot([rows, allowed_users([allow("a", users)])]);
            let flag = loaded.flag("z").expect("it");
            (flag.depends_on_subject(), flag.depends_on_key())
        };
        assert_eq!(depends(flag("a", "a", 50), &[]), (true, true));
        assert_eq!(depends(flag("a", "a", 0), &[7]), (true, true));
        assert_eq!(depends(flag("a", "a", 100), &[]), (false, false));
        let off = FlagRow { enabled: Some(false), ..flag("a", "a", 50) };
        assert_eq!(depends(off, &[7]), (false, false));
    }

    #[test]
    fn load_of_one_flag_changes_what_all_rows_above_it_depend_on() {
        let before = snapshot([flags([needing("a", "b"), needing("b", "c"), flag("c", "c", 100)])]);
        assert_eq!(attributes_of(&before, "a"), [""; 0]);
        let load = asked(Relation::FLAGS, &["c"], flags([flag_with_rules("c", "c", GERMANY)]));
        let after = before.try_next(load).expect("one row");
        assert_eq!(attributes_of(&after, "a"), ["country"]);
        let after = after.next(allowed_users([allow("c", &[1])]));
        assert!(after.flag("a").is_some_and(Dependent::depends_on_key));
    }

    #[test]
    fn change_of_a_flag_changes_the_keys_of_all_rows_that_need_it() {
        let of_experiment =
            ExperimentRow { rules: Some(needs("a").into()), ..experiment("1", "x") };
        let rows =
            |percent| [needing("a", "b"), flag("b", "b", percent), flag("other", "other", 5)];
        let before = snapshot([flags(rows(100)), experiments([of_experiment])]);
        let after = before.next(flags(rows(99)));
        assert_eq!(after.changed_keys(&before).into_iter().collect::<Vec<_>>(), ["a", "b", "x"]);
        let deleted = before.next(flags([needing("a", "b"), flag("other", "other", 5)]));
        assert!(deleted.changed_keys(&before).contains("x"));
    }

    proptest! {
        /// Each flag needs some others, at random, and loads replace one row at a time.
        #[test]
        fn loads_of_single_rows_lead_to_what_a_load_of_all_does(
            graphs in prop::collection::vec(prop::collection::vec((0_usize..7, any::<u8>()), 7), 1..6),
        ) {
            let row = |key: usize, (percent, needed): (usize, u8)| {
                let names = (0..7).filter(|bit| needed & needed.rotate_left(3) & 1 << bit != 0);
                let conditions: Vec<_> =
                    names.map(|name| format!(r#"{{"flag": "{name}", "is": true}}"#)).collect();
                let rules = format!(r#"[{{"conditions": [{}]}}]"#, conditions.join(", "));
                let rules = (!conditions.is_empty()).then(|| rules.into());
                let percent = i32::try_from(percent * 16).expect("small");
                FlagRow { rules, ..flag(&key.to_string(), &key.to_string(), percent) }
            };
            let all = |graph: &[(usize, u8)]| {
                flags(graph.iter().copied().enumerate().map(|(key, one)| row(key, one)))
            };
            let mut snapshot = Snapshot::default().next(all(&graphs[0]));
            for graph in &graphs {
                for (key, one) in graph.iter().copied().enumerate() {
                    let key_text = key.to_string();
                    let load = asked(Relation::FLAGS, &[&key_text], flags([row(key, one)]));
                    snapshot = snapshot.try_next(load).expect("one row");
                }
                let expected = Snapshot::default().next(all(graph));
                prop_assert!(snapshot.differences(&expected).is_empty());
                for (key, _) in expected.flags() {
                    prop_assert_eq!(is_on(&snapshot, key), is_on(&expected, key));
                }
            }
        }
    }
}

mod explained {
    use super::*;

    fn steps_of(loaded: &Snapshot, key: &str, flags: Prerequisites<'_>) -> Vec<Step> {
        let attributes = With { flags, ..With::new(loaded, r#"{"plan": "free"}"#) };
        let flag = loaded.flag(key).expect("it");
        let evaluation = evaluate(key, flag, &USER, &attributes);
        steps::of_flag(flag, evaluation, evaluation.bucket, &USER, &attributes, flags)
    }

    fn shown(steps: &[Step]) -> Vec<(String, u8, Option<&str>, Option<bool>)> {
        let below = steps.iter().filter(|step| step.level > 0);
        below.map(|one| (one.name.clone(), one.level, one.flag.as_deref(), one.met)).collect()
    }

    #[test]
    fn condition_on_a_flag_is_followed_by_the_steps_of_that_flag() {
        let rule =
            r#"[{"conditions": [{"attribute": "plan", "operator": "in", "values": ["pro"]}]}]"#;
        let loaded = snapshot([flags([
            needing("a", "b"),
            needing("b", "c"),
            flag_with_rules("c", "c", rule),
        ])]);
        let plain = Prerequisites { snapshot: &loaded, overrides: None, is_use: false };
        let steps = steps_of(&loaded, "a", plain);
        let of_c = |name: &str, level, met| (name.to_owned(), level, Some("c"), Some(met));
        let found = shown(&steps);
        assert_eq!(found[0], ("condition 1".into(), 1, None, Some(false)));
        assert_eq!(found[1], ("enabled".into(), 2, Some("b"), Some(true)));
        assert_eq!(found[4], ("condition 1".into(), 3, Some("b"), Some(false)));
        assert_eq!(found[5], of_c("enabled", 4, true));
        assert_eq!(found[8], of_c("condition 1", 5, false));
        assert_eq!(found[11], of_c("bucket < rollout", 4, false));
        assert_eq!(steps.iter().filter(|step| step.decides).count(), 1);
    }

    #[test]
    fn condition_on_a_flag_without_steps_says_why() {
        let loaded = snapshot([flags([
            flag("a", "a", 100),
            needing("b", "gone"),
            needing("c", "c"),
            needing("d", "a"),
            needing("e", "b"),
        ])]);
        let text = |key: &str, overrides: Option<&Overrides>| {
            let flags = Prerequisites { snapshot: &loaded, overrides, is_use: false };
            let steps = steps_of(&loaded, key, flags);
            let condition = steps.iter().find(|step| step.level == 1).expect("the condition");
            condition.text.as_ref().expect("why").to_string()
        };
        assert_eq!(text("b", None), "there is no such flag");
        let expected = "its own conditions form a circle, or go more than four flags deep";
        assert_eq!(text("c", None), expected);
        let expected = "it is false, because it cannot be read or a flag that it needs is off";
        assert_eq!(text("e", None), expected);
        let set = Overrides::new([("a".to_owned(), false)], [], []);
        assert_eq!(text("d", Some(&set)), "overridden by a test");
        let forced = Overrides::default().with_forced_off(["a".to_owned()]);
        assert_eq!(text("d", Some(&forced)), "forced off in this process by FLAGSTAFF_FORCE_OFF");
        let forced = Overrides::default().with_forced_on(["a".to_owned()]);
        assert_eq!(text("d", Some(&forced)), "forced on in this process by FLAGSTAFF_FORCE_ON");
    }

    #[test]
    fn condition_on_a_bucket_shows_the_bucket_or_the_missing_unit() {
        let rules =
            r#"[{"conditions": [{"bucket": "new_checkout", "operator": "lt", "values": [5]}]}]"#;
        let row = |unit: Option<&str>| FlagRow {
            bucket_by: unit.map(Into::into),
            ..flag_with_rules("a", "a", rules)
        };
        for (unit, text, missing) in [
            (None, "the bucket of this user is 2.59", None),
            (Some("visitor"), "there is no visitor in the context", Some("visitor")),
        ] {
            let loaded = snapshot([flags([row(unit)])]);
            let plain = Prerequisites { snapshot: &loaded, overrides: None, is_use: false };
            let steps = steps_of(&loaded, "a", plain);
            let condition = steps.iter().find(|step| step.level == 1).expect("the condition");
            let found = condition.text.as_ref().map(ToString::to_string);
            assert_eq!((found.as_deref(), condition.missing.as_deref()), (Some(text), missing));
        }
    }
}
