"""Whether somebody else has changed who has the flag of a plan.

The plan compares a digest of the row with what it saw or wrote last, because a change may have left
no entry in the history. The entries are the only trace of changed allowed users, and of a change
that was undone since.
"""

from __future__ import annotations

import json
from hashlib import sha256

from flagstaff._tables.model_fields import BUCKET_BY, RULES
from flagstaff._tables.rows import FlagRow
from flagstaff._text import Sentence, say
from flagstaff.changes.allowed_users import allowed_pks_of
from flagstaff.changes.footprint import digests
from flagstaff.changes.rule_use import names_in, read_named
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, Event, events, version_of
from flagstaff.rollouts.models import Plan

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
    if flag is None or flag.key != plan.key:
        return say("the flag was deleted or renamed")
    version = version_of(Kind.FLAG, flag.pk)
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
