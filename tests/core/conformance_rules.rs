//! The semantics of rules as rows: `tests/conformance/cases_rules.json`.
//!
//! A case without a user has the one with primary key 2, and a flag without columns is on at 0 %.

use std::collections::BTreeMap;

use flagstaff::bucketing_unit::OfRow;
use flagstaff::evaluate::evaluate;
use flagstaff::flag::Flag;
use flagstaff::row::{AllowedUsersRow, FlagRow, SegmentRow, Users};
use flagstaff::snapshot::{Loaded, Snapshot};
use flagstaff::subject::Subject;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::attributes::Given;
use crate::needed_flags::With;
use crate::rows::{flag, problems, segment};

const KEY: &str = "new_checkout";

#[derive(Deserialize)]
struct Case<'a> {
    name: String,
    attributes: Map<String, Value>,
    #[serde(borrow)]
    rules: &'a RawValue,
    #[serde(borrow, default)]
    segments: BTreeMap<String, &'a RawValue>,
    #[serde(default)]
    flag: FlagOf,
    /// The flags that conditions need, by key.
    #[serde(default)]
    flags: BTreeMap<String, FlagOf>,
    #[serde(default = "user_two")]
    user: Option<String>,
    value: bool,
    reason: String,
    bucket: Option<u8>,
    rule: Option<u8>,
}

#[derive(Deserialize)]
#[serde(default)]
struct FlagOf {
    enabled: bool,
    rollout_percent: i32,
    allowed: Vec<String>,
    bucket_by: Option<Box<str>>,
    /// Those of a flag that conditions need.
    rules: Option<Value>,
}

impl Default for FlagOf {
    fn default() -> Self {
        Self {
            enabled: true,
            rollout_percent: 0,
            allowed: Vec::new(),
            bucket_by: None,
            rules: None,
        }
    }
}

impl FlagOf {
    /// The row, whose primary key is its key. `rules` are those of the flag of the case.
    fn row(&self, key: &str, rules: &str) -> FlagRow {
        let own = self.rules.as_ref().map(ToString::to_string);
        FlagRow {
            enabled: Some(self.enabled),
            rollout_percent: Some(self.rollout_percent),
            bucket_by: self.bucket_by.clone(),
            rules: if key == KEY { Some(rules.into()) } else { own.map(Into::into) },
            ..flag(key, key, 0)
        }
    }

    fn allowed_row(&self, key: &str) -> AllowedUsersRow {
        AllowedUsersRow::new(key, Users::Texts(self.allowed.clone()))
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the default of an optional member")]
fn user_two() -> Option<String> {
    Some("2".to_owned())
}

impl Case<'_> {
    fn snapshot(&self) -> Snapshot {
        let needed = self.flags.iter().map(|(key, flag)| (&**key, flag));
        let all = needed.chain([(KEY, &self.flag)]);
        let allowed = all.clone().map(|(key, flag)| flag.allowed_row(key));
        let rows = all.map(|(key, flag)| flag.row(key, self.rules.get()));
        Snapshot::default().next(Loaded {
            flags: Some(rows.collect()),
            segments: Some(self.segment_rows()),
            allowed_users: Some(allowed.collect()),
            ..Loaded::default()
        })
    }

    fn segment_rows(&self) -> Vec<SegmentRow> {
        self.segments.iter().map(|(key, conditions)| segment(key, key, conditions.get())).collect()
    }

    fn check(&self) {
        let snapshot = self.snapshot();
        // What does not exist is a case, too, and so is a circle.
        let is_case = |text: &String| text.ends_with(r#""gone""#) || text.contains("form a circle");
        let unexpected: Vec<_> =
            problems(&snapshot).into_iter().filter(|text| !is_case(text)).collect();
        assert!(unexpected.is_empty(), "{}: {unexpected:?}", self.name);
        let flag = snapshot.flag(KEY).expect("the flag");
        let subject = self.user.as_deref().map_or(Subject::Anonymous, Subject::Text);
        let given = Given::new(self.attributes.clone());
        let attributes = With::of(&snapshot, given, subject);
        let found = evaluate(KEY, flag, &subject, &attributes);
        let found = (found.value, found.reason.as_str(), found.bucket, found.rule);
        let expected = (self.value, self.reason.as_str(), self.bucket, self.rule);
        assert_eq!(found, expected, "{}", self.name);
        self.check_attributes(flag, &subject, &attributes);
    }

    /// A flag says which attributes it may read, and what decides can be explained.
    fn check_attributes(&self, flag: &Flag, subject: &Subject<'_>, attributes: &With<'_>) {
        let rules = flag.rules().and_then(|rules| rules.rules());
        let mut known = rules.map(|rules| rules.attributes().to_vec()).unwrap_or_default();
        known.extend(flag.unit().map(Into::into));
        let unknown = |name: &String| !known.contains(&name.as_str().into());
        assert!(!attributes.given.read.borrow().iter().any(unknown), "{}", self.name);
        let of_row = OfRow { subject, bucket_by: flag.bucket_by(), attributes };
        let explained = rules.map(|rules| rules.explain(&of_row)).unwrap_or_default();
        let decides = explained.iter().find(|rule| rule.decides).map(|rule| rule.number);
        assert!(self.rule.is_none() || decides == self.rule, "{}", self.name);
    }
}

#[test]
fn every_case_with_rules_returns_its_result_and_reason() {
    let cases: Vec<Case<'_>> =
        serde_json::from_str(include_str!("../conformance/cases_rules.json")).expect("the cases");
    assert!(cases.len() > 480);
    for case in &cases {
        case.check();
    }
}
