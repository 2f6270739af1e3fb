//! The semantics as rows: `tests/conformance/cases.json` over rows, snapshot and evaluate.
//!
//! Python runs the same cases with a real database, and with the article's code over the ORM.

use flagstaff::bucket::bucket;
use flagstaff::evaluate::{Evaluation, Reason, evaluate};
use flagstaff::overrides::Overrides;
use flagstaff::row::{AllowedUsersRow, FlagRow, Users};
use flagstaff::rules::NoAttributes;
use flagstaff::snapshot::{Loaded, Snapshot};
use flagstaff::subject::Subject;
use serde::Deserialize;

use crate::rows::flag;

#[derive(Deserialize)]
struct Case {
    name: String,
    users: String,
    flag: Option<FlagOf>,
    #[serde(default)]
    forced_off: Vec<String>,
    key: String,
    subject: SubjectOf,
    value: bool,
    reason: String,
    error_code: Option<String>,
    bucket: Option<u8>,
}

#[derive(Deserialize)]
struct FlagOf {
    key: String,
    enabled: bool,
    rollout_percent: i32,
    allowed: Vec<String>,
}

#[derive(Deserialize)]
struct SubjectOf {
    kind: String,
    pk: Option<String>,
}

impl SubjectOf {
    fn subject(&self) -> Subject<'_> {
        match (self.kind.as_str(), self.pk.as_deref()) {
            ("none" | "anonymous" | "unsaved", None) => Subject::Anonymous,
            ("integer", Some(pk)) => pk.parse().map_or(Subject::Text(pk), Subject::Integer),
            ("text" | "uuid", Some(pk)) => Subject::Text(pk),
            other => panic!("no such subject: {other:?}"),
        }
    }
}

impl Case {
    fn snapshot(&self) -> Snapshot {
        let (flags, allowed_users) = self.flag.iter().map(|flag| flag.rows(&self.users)).unzip();
        let (flags, allowed_users) = (Some(flags), Some(allowed_users));
        Snapshot::default().next(Loaded { flags, allowed_users, ..Loaded::default() })
    }

    fn check(&self) {
        let overrides = Overrides::default().with_forced_off(self.forced_off.clone());
        if let Some(found) = overrides.flag(&self.key) {
            let Evaluation { value, reason, bucket, .. } = found.evaluation();
            let expected = (self.expected(), self.error_code.as_deref(), self.bucket);
            assert_eq!(((value, reason.as_str()), None, bucket), expected, "{}", self.name);
        } else {
            self.check_flag();
        }
    }

    fn check_flag(&self) {
        let (name, subject) = (&self.name, self.subject.subject());
        let found = self.snapshot().flag(&self.key).cloned();
        assert_eq!(subject.text(|text| bucket(&self.key, text)), self.expected_bucket(), "{name}");
        match (&self.error_code, found) {
            (Some(code), None) => assert_eq!(code, "FLAG_NOT_FOUND", "{name}"),
            (None, Some(flag)) => {
                let evaluation = evaluate(&self.key, &flag, &subject, &NoAttributes);
                assert_eq!(
                    (evaluation.value, evaluation.reason.as_str()),
                    self.expected(),
                    "{name}"
                );
                self.check_bucket(evaluation);
            }
            (code, found) => panic!("{name}: {code:?} {found:?}"),
        }
    }

    fn expected(&self) -> (bool, &str) {
        (self.value, &self.reason)
    }

    /// The bucket of the case, or that of an unknown key, which no case states.
    fn expected_bucket(&self) -> Option<u8> {
        let hashed = |text: &str| bucket(&self.key, text);
        self.bucket.or_else(|| self.error_code.as_ref().and(self.subject.subject().text(hashed)))
    }

    /// The bucket is computed only for a partial rollout, and then equals that of the case.
    fn check_bucket(&self, evaluation: Evaluation) {
        let is_partial =
            self.flag.as_ref().is_some_and(|flag| (1..100).contains(&flag.rollout_percent));
        let expected = self.bucket.filter(|_| is_partial && evaluation.reason == Reason::Split);
        assert_eq!(evaluation.bucket, expected, "{}", self.name);
    }
}

impl FlagOf {
    fn rows(&self, users: &str) -> (FlagRow, AllowedUsersRow) {
        let row = flag("1", &self.key, self.rollout_percent);
        let row = FlagRow { enabled: Some(self.enabled), ..row };
        let users = match users {
            "integer" | "bigint" => Users::Integers(self.allowed_integers()),
            _ => Users::Texts(self.allowed.clone()),
        };
        (row, AllowedUsersRow::new("1", users))
    }

    fn allowed_integers(&self) -> Vec<i64> {
        self.allowed.iter().map(|pk| pk.parse().expect("an integer")).collect()
    }
}

#[test]
fn every_case_returns_its_result_and_reason() {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("../conformance/cases.json")).expect("the cases");
    assert!(cases.len() > 150);
    for case in &cases {
        case.check();
    }
}
