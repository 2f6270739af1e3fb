"""What an action that waits stands on: the rows that decide, and who has changed them since."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, TypeAlias

from django.db.models import Q

from flagstaff._tables.model_fields import RULES
from flagstaff._tables.rows import all_rows
from flagstaff._text.rules import ALL
from flagstaff.changes import Changed
from flagstaff.changes.fields import ALLOWED
from flagstaff.changes.footprint import DECIDING, Footprint
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, Event, events, require_triggers, versions_of
from flagstaff.models import WaitingAction
from flagstaff.validators import rule_problem
from flagstaff.waiting.rights import is_reverse

#: The action that creates a row, of all kinds, and the argument with the users of a flag.
CREATE, USERS = "create", "users"

#: The kind and the primary key of a row with a history.
RowId: TypeAlias = "tuple[Kind, str]"

# The sources of what waits, and of a plan, which write by themselves: no person has decided.
_SOURCE, _PLAN = f"{WaitingAction.SOURCE} ", "plan"


def stored_footprint(footprint: Footprint) -> list[dict[str, Any]]:
    """Returns a footprint as JSON: each row with its primary key, its version and its digests.

    Raises NoHistoryError if changes of such rows would leave no entry. Queries.
    """
    fields: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for (noun, key, name), digest in footprint.items():
        fields[noun, key][name] = digest
    row_versions: dict[tuple[str, str], tuple[str, int]] = {}
    for kind in Kind:
        if not (keys := [key for noun, key in fields if noun == kind.value]):
            continue
        require_triggers(kind)
        rows = all_rows(kind.model).filter(key__in=keys).values_list("key", "pk")
        pks = {key: str(pk) for key, pk in rows}
        versions = versions_of(kind, pks.values())
        row_versions |= {(kind.value, key): (pk, versions.get(pk, 0)) for key, pk in pks.items()}
    return [
        {"kind": noun, "key": key, "pk": pk, "version": version, "fields": digests}
        for (noun, key), digests in fields.items()
        for pk, version in [row_versions.get((noun, key), ("", 0))]
    ]


def footprint_of_stored(stands_on: Iterable[Mapping[str, Any]]) -> Footprint:
    """Returns the footprint that was stored."""
    return {
        (row["kind"], row["key"], name): digest
        for row in stands_on
        for name, digest in row["fields"].items()
    }


def entries_since(actions: Collection[WaitingAction]) -> list[Change]:
    """Returns the entries since actions were asked for, the newest first. A query.

    They are those of the rows that the actions stand on, and those of the keys of creations.
    """
    rows = [row for action in actions for row in action.stands_on if row["pk"]]
    oldest = min((row["version"] for row in rows), default=0)
    conditions = list[Q]()
    for kind in Kind:
        pks = {row["pk"] for row in rows if row["kind"] == kind.value}
        of_rows = Q(relation__in=kind.relations, object_pk__in=pks, id__gt=oldest)
        conditions += [of_rows] if pks else []
    creations = [action for action in actions if action.action == CREATE]
    if creations:
        relations = {Kind(action.kind).row_relation for action in creations}
        keys = {key for action in creations for key in action.keys}
        since = min(action.asked_at for action in creations)
        conditions.append(Q(relation__in=relations, key__in=keys, at__gt=since))
    if not conditions:
        return []
    return [*Change.objects.filter(reduce(or_, conditions)).short().newest(few=True)]


def events_by_row(entries: Iterable[Change]) -> dict[RowId, list[Event]]:
    """Returns the changes of each row, the oldest first. Does not query.

    `Event.version` says which are newer than an action.
    """
    by_row: dict[RowId, list[Event]] = defaultdict(list)
    for event in events(entries):
        by_row[Kind(event.kind), event.object_pk].insert(0, event)
    return by_row


def is_own(action: WaitingAction, row: Mapping[str, Any]) -> bool:
    """Whether a row that an action stands on is one that it changes."""
    return row["kind"] == action.row_kind and row["key"] in action.keys


def source_of(number: int) -> str:
    """Returns the source of what the action with this number writes."""
    return f"{_SOURCE}{number}"


def touched(event: Event, row: Mapping[str, Any]) -> list[str]:
    """Returns the fields that decide and that a change has set; all of a new or deleted row."""
    names = {*row["fields"], "key"}
    changed = [difference.field for difference in event.differences]
    changed += [ALLOWED] if event.added.count or event.removed.count else []
    return changed if event.action != "change" else [name for name in changed if name in names]


def first_change(waiting: WaitingAction, row: Mapping[str, Any], since: Sequence[Event]) -> Any:
    """Returns the first change that ends an action; None without one.

    Of what takes away, it is one that a person has made after the time of the action.
    """
    allowed = {*map(source_of, waiting.rests_on)}
    for event in since:
        if event.version <= row["version"] or not touched(event, row):
            continue
        if waiting.takes_away:
            source = event.source or ""
            is_by_person = source != _PLAN and not source.startswith(_SOURCE)
            if waiting.run_at is not None and event.at > waiting.run_at and is_by_person:
                return event
        elif event.source not in allowed:
            return event
    return None


def was_written(creation: WaitingAction, entries: Iterable[Change]) -> bool:
    """Whether a row with the key of a creation has been there since it was asked for."""
    allowed = {*map(source_of, creation.rests_on)}
    return any(
        entry.relation == Kind(creation.kind).row_relation
        and entry.key in creation.keys
        and entry.at > creation.asked_at
        and entry.source not in allowed
        for entry in entries
    )


# What takes away.


def own_rows(rows: Iterable[Any]) -> Footprint:
    """Returns the footprint of what takes away: no row has to be as it was."""
    return {
        (kind.value, row.key, name): ""
        for row in rows
        if (kind := Kind.of_model(type(row))) is not None
        for name in (*DECIDING[kind], ALLOWED)
    }


def only_takes(change: Changed) -> bool:
    """Whether nobody can gain by a change of a flag: less of the same, and nothing else."""
    old, new = change.old or {}, change.new or {}
    if not change.written:
        return True
    states = [state.row for state in (change.before, change.after) if state and state.row]
    if change.kind is not Kind.FLAG or change.action != "change" or any(map(is_reverse, states)):
        return False
    lowers: Mapping[str, Callable[[Any, Any], bool]] = {
        "enabled": lambda _before, after: after is False,
        "rollout_percent": lambda before, after: after <= before,
        RULES: _are_lower,
        ALLOWED: lambda _removed, added: not added,
    }
    return all(name in lowers and lowers[name](old[name], new[name]) for name in new)


def _are_lower(old: Any, new: Any) -> bool:
    """Whether rules differ in their percentages only, and none is higher."""
    if rule_problem(old) is not None or len(old) != len(new):
        return False
    pairs = [({**before}, {**after}) for before, after in zip(old, new, strict=True)]
    return all(
        after.pop("rollout_percent", ALL) <= before.pop("rollout_percent", ALL) and before == after
        for before, after in pairs
    )
