//! Rows as a database would give them, in few words.

use std::sync::Arc;

use flagstaff::allow_list::AllowList;
use flagstaff::fingerprint::Fingerprint;
use flagstaff::row::{AllowRow, FlagRow, Users, ValueRow};
use flagstaff::snapshot::{Loaded, Snapshot};

pub(crate) fn flag(pk: &str, key: &str, rollout_percent: i32) -> FlagRow {
    FlagRow {
        pk: pk.into(),
        key: Ok(key.into()),
        enabled: Some(true),
        rollout_percent: Some(rollout_percent),
        client_side: false,
    }
}

pub(crate) fn allow(flag_pk: &str, users: &[i64]) -> AllowRow {
    AllowRow::new(flag_pk, Users::Integers(users.to_vec()))
}

pub(crate) fn value(pk: &str, key: &str, json: &str) -> ValueRow {
    ValueRow { pk: pk.into(), key: Ok(key.into()), value: Ok(Some(json.into())) }
}

pub(crate) fn flags(rows: impl IntoIterator<Item = FlagRow>) -> Loaded {
    Loaded { flags: Some(rows.into_iter().collect()), ..Loaded::default() }
}

pub(crate) fn allow_lists(rows: impl IntoIterator<Item = AllowRow>) -> Loaded {
    Loaded { allow_lists: Some(rows.into_iter().collect()), ..Loaded::default() }
}

pub(crate) fn values(rows: impl IntoIterator<Item = ValueRow>) -> Loaded {
    Loaded { values: Some(rows.into_iter().collect()), ..Loaded::default() }
}

pub(crate) fn snapshot(loads: impl IntoIterator<Item = Loaded>) -> Snapshot {
    loads.into_iter().fold(Snapshot::default(), |snapshot, loaded| snapshot.next(loaded))
}

pub(crate) fn fingerprint(newest: i64) -> Fingerprint {
    let mut fingerprint = Fingerprint::default();
    fingerprint.add("f", newest, &newest.to_string());
    fingerprint
}

pub(crate) fn problems(snapshot: &Snapshot) -> Vec<String> {
    snapshot.problems().map(ToString::to_string).collect()
}

pub(crate) fn integers(users: &[i64]) -> Arc<AllowList> {
    Arc::new(AllowList::of_integers(users.iter().copied()))
}
