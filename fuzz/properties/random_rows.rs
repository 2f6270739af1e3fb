//! Random rows of every table. Most have a key of their own.

use flagstaff::primary_key::PrimaryKey;
use flagstaff::row::{ExperimentRow, Fault, FlagRow, PlanRow, SegmentRow, ValueRow};

use super::bytes::Bytes;

const ANYONE: &str = r#"[{"attribute": "a", "operator": "isnull", "values": [true]}]"#;
const NO_ONE: &str = r#"[{"attribute": "a", "operator": "isnull", "values": [false]}]"#;
const PATTERN: &str =
    r#"[{"attribute": "a", "operator": "regex", "values": ["^b"], "negate": true}]"#;

#[derive(Default)]
pub(crate) struct RandomRows {
    /// Whether some columns cannot be used.
    pub(crate) is_faulty: bool,
}

impl RandomRows {
    pub(crate) fn flag(&self, pk: PrimaryKey, bytes: &mut Bytes<'_>) -> FlagRow {
        FlagRow {
            key: self.key(&pk, bytes),
            pk,
            enabled: (!self.is_bad(bytes)).then(|| bytes.below(4) > 0),
            rollout_percent: (!self.is_bad(bytes)).then(|| bytes.percent()),
            client_side: bytes.bool(),
            rules: self.rules(bytes, ""),
            bucket_by: bucket_by(bytes),
        }
    }

    pub(crate) fn segment(&self, pk: PrimaryKey, bytes: &mut Bytes<'_>) -> SegmentRow {
        let conditions = [ANYONE, NO_ONE, PATTERN][usize::from(bytes.below(3))];
        let conditions = self.text(conditions.to_owned(), bytes);
        SegmentRow { key: self.key(&pk, bytes), pk, conditions: conditions.map(Into::into) }
    }

    pub(crate) fn value(&self, pk: PrimaryKey, bytes: &mut Bytes<'_>) -> ValueRow {
        // Or an integer that Python does not read.
        let is_long = self.is_bad(bytes);
        let json = if is_long { "1".repeat(5_000) } else { format!(r#"["{}"]"#, bytes.below(4)) };
        let value = if bytes.below(8) == 0 { Ok(None) } else { self.text(json, bytes).map(Some) };
        ValueRow {
            key: self.key(&pk, bytes),
            pk,
            value,
            is_secret: bytes.below(4) == 0,
            client_side: bytes.bool(),
            rules: self.rules(bytes, r#", "value": 5"#),
            bucket_by: bucket_by(bytes),
        }
    }

    pub(crate) fn experiment(&self, pk: PrimaryKey, bytes: &mut Bytes<'_>) -> ExperimentRow {
        let state = ["draft", "running", "stopped"][usize::from(bytes.below(3))];
        let state = if self.is_bad(bytes) { "lost" } else { state };
        ExperimentRow {
            key: self.key(&pk, bytes),
            pk,
            state: state.into(),
            winner: "".into(),
            run: i32::from(bytes.below(3)),
            variants: Ok(
                r#"[{"key": "control", "weight": 1}, {"key": "treatment", "weight": 1}]"#.into()
            ),
            traffic_percent: 100,
            forced: self.text(r#"{"7": "control"}"#.to_owned(), bytes).map(Into::into),
            rules: self.rules(bytes, ""),
            bucket_by: bucket_by(bytes),
        }
    }

    pub(crate) fn plan(&self, pk: PrimaryKey, bytes: &mut Bytes<'_>) -> PlanRow {
        let flag = bytes.below(4).to_string();
        let limits = if self.is_bad(bytes) { "x" } else { r#"{"1": 0.5}"# };
        PlanRow {
            pk,
            flag_pk: flag.as_str().into(),
            key: flag.into(),
            run: (bytes.below(4) > 0).then(|| i64::from(bytes.below(3))),
            salt: vec![bytes.below(2)],
            latency_limits: if bytes.bool() { "{}" } else { limits }.into(),
            guarded_for: bytes.bool().then_some(60.0),
        }
    }

    fn is_bad(&self, bytes: &mut Bytes<'_>) -> bool {
        self.is_faulty && bytes.below(12) == 0
    }

    /// Its own key, or rarely that of any row.
    fn key(&self, pk: &PrimaryKey, bytes: &mut Bytes<'_>) -> Result<Box<str>, Fault> {
        let number = pk.to_string();
        let own = number.trim_start_matches(|letter: char| !letter.is_ascii_digit());
        let key = if bytes.below(8) == 0 { bytes.text() } else { own.to_owned() };
        if self.is_bad(bytes) { Err(Fault::Null) } else { Ok(key.into()) }
    }

    /// A text, or one that cannot be parsed, or a fault.
    fn text(&self, text: String, bytes: &mut Bytes<'_>) -> Result<String, Fault> {
        match self.is_bad(bytes) {
            true if bytes.bool() => Err(Fault::TooLarge),
            true => Ok("[1".to_owned()),
            false => Ok(text),
        }
    }

    /// No rules, or one rule with these members, which may name a segment.
    fn rules(&self, bytes: &mut Bytes<'_>, members: &str) -> Option<Box<str>> {
        let segment = format!(r#"[{{"segment": "{}"}}]"#, bytes.below(6));
        let conditions = match bytes.below(8) {
            0 => ANYONE,
            1 => NO_ONE,
            2 => PATTERN,
            3 | 4 => &segment,
            _ => return None,
        };
        let rules = format!(r#"[{{"conditions": {conditions}{members}}}]"#);
        Some(if self.is_bad(bytes) { "[1".into() } else { rules.into() })
    }
}

/// The user, the visitor, an attribute, or one that no subject has.
fn bucket_by(bytes: &mut Bytes<'_>) -> Option<Box<str>> {
    let units = [None, None, Some("visitor"), Some("country"), Some("")];
    units[usize::from(bytes.below(5))].map(Into::into)
}
