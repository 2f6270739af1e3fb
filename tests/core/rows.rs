//! Short constructors for rows and loads.

use std::collections::BTreeMap;
use std::sync::Arc;

use flagstaff::flag::{Flag, Identity};
use flagstaff::row::{
    AllowedUsersRow, ExperimentRow, FlagRow, PlanRow, SegmentRow, Users, ValueRow,
};
use flagstaff::snapshot::{Loaded, Snapshot};
use flagstaff::token_set::{Relation, TokenSet};
use flagstaff::user_set::UserSet;

pub(crate) fn flag(pk: &str, key: &str, rollout_percent: i32) -> FlagRow {
    FlagRow {
        pk: pk.into(),
        key: Ok(key.into()),
        enabled: Some(true),
        rollout_percent: Some(rollout_percent),
        client_side: false,
        rules: None,
        bucket_by: None,
    }
}

/// A flag at 0 %, so that only the rules decide.
pub(crate) fn flag_with_rules(pk: &str, key: &str, rules: &str) -> FlagRow {
    FlagRow { rules: Some(rules.into()), ..flag(pk, key, 0) }
}

pub(crate) fn segment(pk: &str, key: &str, conditions: &str) -> SegmentRow {
    SegmentRow { pk: pk.into(), key: Ok(key.into()), conditions: Ok(conditions.into()) }
}

/// A running experiment with two halves.
pub(crate) fn experiment(pk: &str, key: &str) -> ExperimentRow {
    ExperimentRow {
        pk: pk.into(),
        key: Ok(key.into()),
        state: "running".into(),
        winner: "".into(),
        run: 0,
        variants: Ok(
            r#"[{"key": "control", "weight": 1}, {"key": "treatment", "weight": 1}]"#.into()
        ),
        traffic_percent: 100,
        forced: Ok("{}".into()),
        rules: None,
        bucket_by: None,
    }
}

pub(crate) fn experiments(rows: impl IntoIterator<Item = ExperimentRow>) -> Loaded {
    Loaded { experiments: Some(rows.into_iter().collect()), ..Loaded::default() }
}

pub(crate) fn allow(flag_pk: &str, users: &[i64]) -> AllowedUsersRow {
    AllowedUsersRow::new(flag_pk, Users::Integers(users.to_vec()))
}

pub(crate) fn value(pk: &str, key: &str, json: &str) -> ValueRow {
    ValueRow {
        pk: pk.into(),
        key: Ok(key.into()),
        value: Ok(Some(json.into())),
        is_secret: false,
        client_side: false,
        rules: None,
        bucket_by: None,
    }
}

pub(crate) fn flags(rows: impl IntoIterator<Item = FlagRow>) -> Loaded {
    Loaded { flags: Some(rows.into_iter().collect()), ..Loaded::default() }
}

pub(crate) fn segments(rows: impl IntoIterator<Item = SegmentRow>) -> Loaded {
    Loaded { segments: Some(rows.into_iter().collect()), ..Loaded::default() }
}

pub(crate) fn allowed_users(rows: impl IntoIterator<Item = AllowedUsersRow>) -> Loaded {
    Loaded { allowed_users: Some(rows.into_iter().collect()), ..Loaded::default() }
}

pub(crate) fn values(rows: impl IntoIterator<Item = ValueRow>) -> Loaded {
    Loaded { values: Some(rows.into_iter().collect()), ..Loaded::default() }
}

/// A rollout plan of the flag with the same primary key.
pub(crate) fn plan(flag_pk: &str, run: Option<i64>) -> PlanRow {
    PlanRow {
        pk: flag_pk.into(),
        flag_pk: flag_pk.into(),
        key: "checkout".into(),
        run,
        salt: vec![1, 2],
        latency_limits: "{}".into(),
        guarded_for: None,
    }
}

pub(crate) fn plans(rows: impl IntoIterator<Item = PlanRow>) -> Loaded {
    Loaded { plans: Some(rows.into_iter().collect()), ..Loaded::default() }
}

/// A load that has asked the table of `relation` for the rows with these primary keys only.
pub(crate) fn asked(relation: Relation, pks: &[&str], loaded: Loaded) -> Loaded {
    let pks = pks.iter().map(|pk| (*pk).into()).collect();
    Loaded { asked: BTreeMap::from([(relation, pks)]), ..loaded }
}

pub(crate) fn snapshot(loads: impl IntoIterator<Item = Loaded>) -> Snapshot {
    loads.into_iter().fold(Snapshot::default(), |snapshot, loaded| snapshot.next(loaded))
}

pub(crate) fn token_set(newest: i64) -> TokenSet {
    let mut token_set = TokenSet::default();
    token_set.add("f", newest, &newest.to_string());
    token_set
}

pub(crate) fn problems(snapshot: &Snapshot) -> Vec<String> {
    snapshot.problems().map(ToString::to_string).collect()
}

/// A flag without a row.
pub(crate) fn detached(enabled: bool, rollout_percent: i32, allowed: &[i64]) -> Flag {
    Flag {
        identity: Identity::new(Box::default(), "".into()).into(),
        enabled,
        rollout_percent,
        client_side: false,
        allowed_users: integers(allowed),
        targeting: None,
    }
}

pub(crate) fn integers(users: &[i64]) -> Arc<UserSet> {
    Arc::new(UserSet::of_integers(users.iter().copied()))
}
