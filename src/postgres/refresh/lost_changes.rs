//! Whether the database still has the changes that this worker has seen.
//!
//! After a failover that lost commits, after a restore, and with two primaries, time goes back, and a
//! kill may be undone. Workers follow the database, and say so. Only tokens prove it: after `pg_upgrade`,
//! another server has the same history, and a standby that lags gets it later.

use std::sync::Arc;

use tokio_postgres::{Error, Row};

use super::server_info::Role;
use crate::message::{Message, Value};
use crate::postgres::texts;
use crate::snapshot::Snapshot;
use crate::token_set::TokenSet;

/// How many ids a token is older than the newest one when it may be deleted, as in
/// `token_functions_v1.sql`.
const KEPT: i64 = 1000;
/// The flags that a message names.
const MAX_NAMED: usize = 10;

/// Which server it is. All its copies have the same system identifier, and the timeline is another one
/// after each promotion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerId {
    pub(super) system: Box<str>,
    pub(super) timeline: i64,
}

/// What a load asks the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    /// The newest token that the worker has seen, and its random number.
    pub(super) token: i64,
    pub(super) nonce: i64,
    /// Whether the server says which one it is.
    pub(super) names_itself: bool,
}

/// What the server has said during a load.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) has_token: bool,
    pub(super) server: Option<ServerId>,
}

/// What the worker has seen, over all its connections.
#[derive(Debug, Default)]
pub(super) struct LostChanges {
    seen: Option<Seen>,
    /// The server of the last load, if it says which one it is, and the worker reads no subscriber.
    pub(super) server: Option<ServerId>,
}

/// The newest state that the worker has seen.
#[derive(Debug)]
struct Seen {
    snapshot: Arc<Snapshot>,
    /// Whether it was read at a standby or a subscriber.
    is_copy: bool,
    server: Option<ServerId>,
}

impl ServerId {
    /// Reads a row of `server_v1.sql`.
    pub(super) fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self { system: row.try_get("system")?, timeline: row.try_get("timeline")? })
    }

    /// Whether its history has left that of the server before, which it can lack only for good.
    fn has_left(&self, before: &Self) -> bool {
        self.system != before.system || self.timeline > before.timeline
    }
}

impl Seen {
    fn has_left(&self, before: &Self) -> bool {
        let servers = self.server.as_ref().zip(before.server.as_ref());
        servers.is_some_and(|(now, before)| now.has_left(before))
    }
}

impl LostChanges {
    /// What a forked child has seen: the snapshot that it has inherited.
    pub(super) fn since(inherited: Option<Arc<Snapshot>>) -> Self {
        let seen = inherited.map(|snapshot| Seen { snapshot, is_copy: false, server: None });
        Self { seen, server: None }
    }

    /// What the next load asks. Most loads ask nothing: their connection has shown this history before.
    pub(super) fn question(
        &self,
        is_other_server: bool,
        current: Option<&Snapshot>,
    ) -> Option<Question> {
        let seen = self.seen.as_ref().and_then(|seen| newest_of(&seen.snapshot));
        let is_open = seen.is_some() && seen != current.and_then(newest_of);
        let (token, nonce) = seen.unwrap_or_default();
        let names_itself = self.server.is_some();
        (is_other_server || is_open).then_some(Question { token, nonce, names_itself })
    }

    /// Notes the snapshot that a load has published. Returns what to say if changes are gone.
    ///
    /// A copy that lacks them may be late. It is certain that they are gone once it has newer ones.
    pub(super) fn note(
        &mut self,
        next: Arc<Snapshot>,
        answer: Option<Answer>,
        role: Role,
    ) -> Option<Message> {
        let has_token = answer.as_ref().map(|answer| answer.has_token);
        let answered = answer.and_then(|answer| answer.server).or_else(|| self.server.take());
        self.server = answered.filter(|_| role != Role::Subscriber);
        let now = newest(next.token_set()?);
        let is_copy = role != Role::Primary;
        let next = Seen { snapshot: next, is_copy, server: self.server.clone() };
        let mut said = None;
        if let Some(seen) = &self.seen
            && let Some(before) = newest_of(&seen.snapshot)
            && lacks(before, now, has_token)
        {
            let may_be_late = now.0 < before.0 && (seen.is_copy || next.is_copy);
            if may_be_late && !next.has_left(seen) {
                return None;
            }
            said = Some(message(seen, &next, (before.0, now.0)));
        }
        self.seen = Some(next);
        said
    }
}

/// The newest token, and its random number.
fn newest(tokens: &TokenSet) -> (i64, i64) {
    (tokens.newest(), tokens.nonce())
}

/// The newest token of a snapshot; `None` without one.
fn newest_of(snapshot: &Snapshot) -> Option<(i64, i64)> {
    snapshot.token_set().map(newest).filter(|(token, _)| *token > 0)
}

/// Whether a database with the newest token `now` lacks the token `before`, as far as it is known:
/// `has_token` is what it says itself. Ids only grow, and only old tokens are deleted.
fn lacks(before: (i64, i64), now: (i64, i64), has_token: Option<bool>) -> bool {
    before != now && now.0 <= before.0 + KEPT && !has_token.unwrap_or(now.0 > before.0)
}

fn message(before: &Seen, now: &Seen, (token_before, token_now): (i64, i64)) -> Message {
    texts::LOST_CHANGES.with([
        ("before", token_before.to_string().into()),
        ("now", token_now.to_string().into()),
        ("cause", cause(before.server.as_ref(), now.server.as_ref()).into()),
        ("flags", differing_flags(&before.snapshot, &now.snapshot).into()),
    ])
}

/// What may have happened.
fn cause(before: Option<&ServerId>, now: Option<&ServerId>) -> Message {
    let Some((before, now)) = before.zip(now) else { return (&texts::GONE_BACK).into() };
    if before.system != now.system {
        let systems = [("before", (&*before.system).into()), ("now", (&*now.system).into())];
        return texts::OTHER_SYSTEM.with(systems);
    }
    let template = match now.timeline {
        timeline if timeline > before.timeline => &texts::PROMOTED,
        timeline if timeline < before.timeline => &texts::TWO_PRIMARIES,
        _ => return (&texts::RESTORED).into(),
    };
    let timeline = |server: &ServerId| -> Value { server.timeline.to_string().into() };
    template.with([("before", timeline(before)), ("now", timeline(now))])
}

/// The flags that are not the same, first those that are on again.
fn differing_flags(before: &Snapshot, now: &Snapshot) -> Message {
    let mut keys = before.differing_flags(now);
    if keys.is_empty() {
        return (&texts::NO_FLAG_DIFFERS).into();
    }
    let is_on = |snapshot: &Snapshot, key: &str| snapshot.flag(key).is_some_and(|it| it.enabled);
    keys.sort_by_key(|key| (is_on(before, key) || !is_on(now, key), *key));
    let named: Vec<_> = keys.iter().take(MAX_NAMED).map(|key| format!("{key:?}")).collect();
    let flags = ("flags", named.join(", ").into());
    match keys.len() - named.len() {
        0 => texts::FLAGS_DIFFER.with([flags]),
        count => texts::MANY_FLAGS_DIFFER.with([flags, ("count", count.into())]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primary_key::PrimaryKey;
    use crate::row::FlagRow;
    use crate::snapshot::Loaded;

    const PRIMARY: Role = Role::Primary;
    const STANDBY: Role = Role::Standby;

    /// A load: the newest token and its random number, whether the server says that it has the token
    /// before, its role, and its timeline.
    type Load = (i64, i64, Option<bool>, Role, i64);

    fn snapshot(token: i64, nonce: i64, enabled: bool) -> Arc<Snapshot> {
        let mut tokens = TokenSet::default();
        tokens.add("f", token, "");
        tokens.set_nonce(nonce);
        let flag = FlagRow {
            pk: PrimaryKey::from("1"),
            key: Ok("new_checkout".into()),
            enabled: Some(enabled),
            rollout_percent: Some(100),
            client_side: false,
            rules: None,
            bucket_by: None,
        };
        let loaded =
            Loaded { token_set: Some(tokens), flags: Some(vec![flag]), ..Loaded::default() };
        Arc::new(Snapshot::default().try_next(loaded).expect("all rows were read"))
    }

    fn note(
        changes: &mut LostChanges,
        system: &str,
        (token, nonce, has_token, role, timeline): Load,
    ) -> Option<Message> {
        let id = ServerId { system: system.into(), timeline };
        changes.server = Some(id.clone());
        let answer = has_token.map(|has_token| Answer { has_token, server: Some(id) });
        changes.note(snapshot(token, nonce, nonce % 2 == 0), answer, role)
    }

    /// Whether each of the loads finds changes gone.
    fn losses<const N: usize>(loads: [Load; N]) -> [bool; N] {
        let mut changes = LostChanges::default();
        loads.map(|load| note(&mut changes, "7", load).is_some())
    }

    #[test]
    fn history_that_goes_on_loses_nothing() {
        let loads = [
            (35, 1, Some(false), PRIMARY, 1),
            (35, 1, None, PRIMARY, 1),
            (36, 2, None, PRIMARY, 1),
            // After a restart, ids may be skipped.
            (68, 3, Some(true), PRIMARY, 1),
            (70, 4, Some(true), STANDBY, 2),
        ];
        assert_eq!(losses(loads), [false; 5]);
    }

    #[test]
    fn tokens_that_are_gone_or_have_another_number_are_lost_once() {
        for (token, nonce, has_token) in [
            (34, 2, Some(false)),
            (34, 2, None),
            (35, 2, None),
            (35, 2, Some(false)),
            (40, 2, Some(false)),
        ] {
            let now = (token, nonce, has_token, PRIMARY, 1);
            let again = (token, nonce, Some(true), PRIMARY, 1);
            let loads = [(35, 1, None, PRIMARY, 1), now, again];
            assert_eq!(losses(loads), [false, true, false], "{now:?}");
        }
    }

    #[test]
    fn standby_that_lags_and_catches_up_has_lost_nothing() {
        let loads = [
            (35, 1, None, PRIMARY, 1),
            (30, 2, Some(false), STANDBY, 1),
            (33, 4, Some(false), STANDBY, 1),
            (36, 6, Some(true), STANDBY, 1),
            (37, 8, Some(true), PRIMARY, 1),
        ];
        assert_eq!(losses(loads), [false; 5]);
    }

    #[test]
    fn standby_has_lost_changes_once_it_has_newer_ones_or_another_timeline() {
        let loads = [
            (35, 1, None, STANDBY, 1),
            (30, 2, Some(false), STANDBY, 1),
            (36, 4, Some(false), STANDBY, 1),
        ];
        assert_eq!(losses(loads), [false, false, true]);
        let loads = [(35, 1, None, STANDBY, 1), (30, 2, Some(false), STANDBY, 2)];
        assert_eq!(losses(loads), [false, true]);
    }

    #[test]
    fn token_that_may_have_been_deleted_is_not_lost() {
        let loads = [(35, 1, None, PRIMARY, 1), (1036, 2, Some(false), PRIMARY, 1)];
        assert_eq!(losses(loads), [false; 2]);
        let loads = [(35, 1, None, PRIMARY, 1), (1035, 2, Some(false), PRIMARY, 1)];
        assert_eq!(losses(loads), [false, true]);
    }

    #[test]
    fn another_server_with_the_same_history_has_lost_nothing() {
        // As after pg_upgrade.
        let mut changes = LostChanges::default();
        for (system, timeline) in [("7", 3), ("8", 1)] {
            let load = (35, 1, Some(true), PRIMARY, timeline);
            assert_eq!(note(&mut changes, system, load), None);
        }
    }

    #[test]
    fn message_says_what_may_have_happened_and_names_the_flags() {
        let said = |system: &str, timeline| {
            let mut changes = LostChanges::default();
            note(&mut changes, "7", (35, 1, None, PRIMARY, 2));
            let message = note(&mut changes, system, (3, 2, Some(false), PRIMARY, timeline));
            message.map(|message| message.to_string()).unwrap_or_default()
        };
        let cases = [
            (said("7", 3), "a failover that lost commits, or a restore (timeline 2 → 3)"),
            (said("7", 1), "an older primary is back, so there may be two (timeline 2 → 1)"),
            (said("7", 2), "a restore, tables that were emptied"),
            (said("8", 1), "(system identifier 7 → 8)"),
        ];
        for (said, cause) in cases {
            let start = "the database lacks changes that it had before (token 35 → 3): ";
            assert!(said.starts_with(start) && said.contains(cause), "{said}");
            assert!(said.ends_with(r#"; flags that differ from before: "new_checkout""#), "{said}");
        }
    }

    #[test]
    fn subscriber_is_not_compared_with_the_server_before() {
        let mut changes = LostChanges::default();
        note(&mut changes, "7", (35, 1, None, PRIMARY, 1));
        let load = (30, 2, Some(false), Role::Subscriber, 1);
        assert_eq!(note(&mut changes, "8", load), None);
        assert_eq!(changes.server, None);
    }
}
