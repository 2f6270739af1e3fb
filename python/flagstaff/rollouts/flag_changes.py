"""Whether somebody else has changed who has the flag of a plan, and the state that follows.

The plan compares a digest of the row with what it saw or wrote last, because a change may have left
no entry in the history. The entries are the only trace of changed allowed users, and of a change
that was undone since.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from hashlib import sha256

from django.core.exceptions import ValidationError

from flagstaff._tables.model_fields import BUCKET_BY, RULES
from flagstaff._tables.rows import FlagRow, all_rows
from flagstaff._text import Sentence, say
from flagstaff.changes.allowed_users import allowed_pks_of
from flagstaff.changes.footprint import digests
from flagstaff.changes.rule_use import names_in, read_named
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, Event, events, has_history, version_of, versions_of
from flagstaff.rollouts.models import WATCHED_STATES, Plan, State

# The length of each half of a digest.
_HALF = 32
# The number of changes since the last run that are read.
_MAX_READ = 1000
# A flag with another key has other users inside.
_DECIDING = {"key", "enabled", "rollout_percent", BUCKET_BY, RULES}


def digest_of(flag: FlagRow) -> str:
    """Returns a digest of what decides who has a flag, besides the allowed users.

    Its first half is of the row, the other half of the segments and flags that its rules need, with
    the allowed users of these flags. Queries them.
    """
    own = [flag.enabled, flag.rollout_percent, flag.bucket_by, flag.rules]
    needed = read_named(name for name, _place in names_in(flag.rules))
    flags = [row for (kind, _key), row in needed.items() if kind is Kind.FLAG]
    users = allowed_pks_of(flags) if flags else {}
    others = [
        [place, digest]
        for (kind, _key), row in needed.items()
        for place, digest in digests(kind, row, users.get(row.pk))
    ]
    return f"{_half(own)}{_half(sorted(others))}"


def _half(decides: object) -> str:
    text = json.dumps(decides, sort_keys=True, default=str)
    return sha256(text.encode()).hexdigest()[:_HALF]


def see_flag(plan: Plan, version: int | None) -> None:
    """Notes the present row of the flag, which must be locked. The plan is not saved."""
    flag = plan.locked_flag()
    plan.seen_flag = "" if flag is None else digest_of(flag)
    plan.flag_version = version


def foreign_change(plan: Plan, flag: FlagRow | None) -> Sentence | None:
    """Returns that somebody else has changed who has the flag since the plan saw it, or None.

    The row of the flag must be locked. Makes a few queries. After other changes the plan gets the
    new version, and is not saved. A flag with another key has other users inside, so the plan does
    not follow it.
    """
    version = None if flag is None else version_of(Kind.FLAG, flag.pk)
    return _foreign_change(plan, flag, version)


def _foreign_change(plan: Plan, flag: FlagRow | None, version: int | None) -> Sentence | None:
    if flag is None or flag.key != plan.key:
        return say("the flag was deleted or renamed")
    # Without a history, which no step can do without, a trip still compares the row.
    has_entries = version is not None and version != plan.flag_version
    digest = digest_of(flag)
    is_same = digest[:_HALF] == plan.seen_flag[:_HALF]
    if not is_same or (has_entries and _has_deciding_entry(plan)):
        return say("the flag was changed outside of the plan, as its history shows")
    if digest != plan.seen_flag:
        return say("a flag or a segment on which the flag depends was changed")
    plan.flag_version = plan.flag_version if version is None else version
    return None


def with_flags(plans: Iterable[Plan]) -> list[Plan]:
    """Returns plans with their flags, each in the state that follows from both; never to be saved.

    A plan whose flag somebody else has changed is paused: no step follows until a person resumes
    it. The next run of a driver only writes so. Whatever shows a plan reads its state here. Makes
    up to five queries, and some for each running plan whose flag needs other rows by its rules,
    or has new entries in the history.
    """
    plans = [*plans]
    flags = _flags_of(plans)
    watched = [plan for plan in plans if plan.state in WATCHED_STATES]
    versions: Mapping[str, int] | None = None
    if watched and has_history():
        versions = versions_of(Kind.FLAG, [plan.flag_pk for plan in watched])
    paused = dict[Plan, Sentence]()
    for plan in plans:
        flag = plan.own_flag = flags.get(plan.flag_pk)
        version = None if versions is None else versions.get(plan.flag_pk, 0)
        if plan in watched and (why := _foreign_change(plan, flag, version)):
            paused[plan] = why
    # Unless a driver has moved it on between the two queries.
    seen = dict(_seen_flags(paused))
    for plan, why in paused.items():
        if seen.get(plan.pk) == plan.seen_flag:
            plan.state, plan.reason, plan.run_id = State.PAUSED, why, None
            plan.due_at = plan.guarded_until = None
    return plans


def _flags_of(plans: Iterable[Plan]) -> dict[str, FlagRow]:
    """Returns the flags of plans by the text of the primary key. Makes a query."""
    to_key = conf.flag_model._meta.pk.to_python
    pks = []
    for plan in plans:
        with suppress(ValidationError):  # a primary key of another FLAG_MODEL
            pks.append(to_key(plan.flag_pk))
    rows = all_rows(conf.flag_model).filter(pk__in=pks) if pks else ()
    return {str(flag.pk): flag for flag in rows}


def _seen_flags(plans: Collection[Plan]) -> Iterable[tuple[int, str]]:
    """Returns what plans have seen of their flags by now. Makes a query if there are any."""
    if not plans:
        return ()
    return Plan.objects.filter(pk__in=[plan.pk for plan in plans]).values_list("pk", "seen_flag")


def _has_deciding_entry(plan: Plan) -> bool:
    """Whether an entry since the plan saw the flag may have changed who has it."""
    entries = Change.objects.of_row(Kind.FLAG, plan.flag_pk).filter(id__gt=plan.flag_version or 0)
    newer = [*entries.short().newest()[:_MAX_READ]]
    # Without any, the history itself was changed.
    return len(newer) in {0, _MAX_READ} or any(map(_decides, events(newer)))


def _decides(event: Event) -> bool:
    if event.action != "change" or event.added.count or event.removed.count:
        return True
    fields = {difference.field for difference in event.differences}
    return not fields or not fields.isdisjoint(_DECIDING)
