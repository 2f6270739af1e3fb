"""Which segments the rules of flags and experiments name. A segment in use must exist."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from typing import Any

from django.db import connections
from django.db.models import Model, TextField
from django.db.models.functions import Cast

from flagstaff._engine.segment_impact import UsingRules
from flagstaff._extensions import OtherRules, optional_apps
from flagstaff._tables.flag_model import RULES, flag_model
from flagstaff._tables.model_fields import segment_model
from flagstaff._tables.rows import Row, all_rows, similar_segments
from flagstaff._tables.states import FlagState
from flagstaff._tables.user_lookup import batches
from flagstaff._words.json_text import read_json
from flagstaff._words.lists import some
from flagstaff._words.message import Message
from flagstaff._words.rule_parts import named_segments
from flagstaff.changes.messages import (
    CREATE_FIRST,
    FIELD_PROBLEM,
    MISSING_SEGMENT,
    SEGMENT_IN_USE,
    UNDO_DELETION,
)
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import deleted_pk

_pending: ContextVar[list[Callable[[], None]] | None] = ContextVar("pending", default=None)


def is_flag_with_rules(row: Row | Model) -> bool:
    """Whether the row is a flag of a model that has rules."""
    return isinstance(row, conf.flag_model) and flag_model().has(RULES)


@contextmanager
def checked_together() -> Iterator[None]:
    """Checks rules and segments at the end of the block.

    In between, a rule may name a segment that does not exist, as while both are undone.
    """
    pending: list[Callable[[], None]] = []
    token = _pending.set(pending)
    try:
        yield
    finally:
        _pending.reset(token)
    for check in pending:
        check()


def require_segments(row: Row | Model, rules: object) -> None:
    """Raises InvalidChangeError if the new rules of a flag name a segment that does not exist.

    Locks the segments until the transaction ends, so that nobody deletes one meanwhile.
    """
    if not is_flag_with_rules(row):
        return
    if (pending := _pending.get()) is not None:
        pending.append(partial(_require_segments, rules))
    else:
        _require_segments(rules)


def _require_segments(rules: object) -> None:
    if problem := missing_segment(rules, lock=True):
        raise InvalidChangeError(FIELD_PROBLEM(field=RULES, problem=problem))


def missing_segment(rules: object, *, lock: bool = False) -> Message | None:
    """Returns which rule names a segment that does not exist, and what to do; None without one."""
    named = dict(reversed([*named_segments(rules)]))
    if not named:
        return None
    rows = all_rows(segment_model())
    # In the order of keys, so that two calls cannot deadlock.
    if lock:
        no_key = connections[conf.database].features.has_select_for_no_key_update
        rows = rows.select_for_update(no_key=no_key).order_by("key")
    existing = {*rows.filter(key__in=named).values_list("key", flat=True)}
    for key, place in named.items():
        if key not in existing:
            return MISSING_SEGMENT(place=place, key=repr(key), advice=_advice(key))
    return None


def _advice(key: str) -> Message:
    if deleted_pk(Kind.SEGMENT, key) is not None:
        return UNDO_DELETION(command=f"manage.py flags undo {shlex.quote(key)} --segment")
    return similar_segments(key) or CREATE_FIRST(command="manage.py flags segment create")


def keep_used_segment(segment: Model, using: str) -> None:
    """Raises InvalidChangeError before the ORM deletes a segment that a rule names."""
    if using != conf.database:
        return
    # Locked, so that a concurrent change of rules, which locks it too, is seen.
    rows = all_rows(segment_model()).select_for_update().filter(pk=segment.pk)
    for key in rows.values_list("key", flat=True):
        require_unused(key)


def require_unused(key: str) -> None:
    """Raises InvalidChangeError if a rule names the segment. Reads all rules.

    To be called before the segment is deleted or renamed.
    """
    if (pending := _pending.get()) is not None:
        pending.append(partial(_require_unused_or_present, key))
    else:
        _require_unused(key)


def _require_unused_or_present(key: str) -> None:
    if not all_rows(segment_model()).filter(key=key).exists():
        _require_unused(key)


def _require_unused(key: str) -> None:
    if users := rules_that_name(key):
        raise InvalidChangeError(SEGMENT_IN_USE(key=repr(key), flags=some(users)))


def rules_that_name(key: str) -> list[str]:
    """Returns what uses a segment in words, as "'a'" or "experiment 'b'". Reads all rules."""
    others = other_rules_by_segment().get(key, ())
    return [
        *map(repr, flags_that_name(key)),
        *(f"{one.model._meta.verbose_name} {one.key!r}" for one in others),
    ]


def other_rules_by_segment() -> dict[str, list[OtherRules]]:
    """Returns the rules that are not those of flags, by the segments that they name."""
    found: dict[str, list[OtherRules]] = {}
    for app in optional_apps():
        for one in app.other_rules():
            for segment in dict(named_segments(one.rules)):
                found.setdefault(segment, []).append(one)
    return found


def flags_that_name(key: str) -> list[str]:
    """Returns the keys of the flags whose rules name a segment. Reads all rules."""
    return [flag for flag, _pk in flags_by_segment().get(key, ())]


def flags_by_segment() -> dict[str, list[tuple[str, Any]]]:
    """Returns the key and primary key of the flags whose rules name each segment.

    Reads all rules.
    """
    found: dict[str, list[tuple[str, Any]]] = {}
    for flag, pk, rules in rules_of_flags():
        for segment in dict(named_segments(rules)):
            found.setdefault(segment, []).append((flag, pk))
    return found


def flags_using(*keys: str) -> list[Any]:
    """Returns the rows of the flags whose rules name one of these segments. Reads all rules."""
    by_segment = flags_by_segment()
    pks = dict.fromkeys(pk for key in keys for _flag, pk in by_segment.get(key, ()))
    return [
        flag
        for batch in batches(pks)
        for flag in all_rows(conf.flag_model).filter(pk__in=batch).order_by("key")
    ]


def rules_using(key: str) -> list[UsingRules]:
    """Returns the rules that name a segment and decide about results now. Reads all rules."""
    others = other_rules_by_segment().get(key, ())
    return [
        *(rules_of_flag(flag) for flag in flags_using(key) if flag.enabled),
        *(UsingRules.granting(one.key, one.rules) for one in others if one.is_active),
    ]


def rules_of_flag(flag: Any) -> UsingRules:
    """Returns the rules of a flag as an impact counts them, as if the flag were enabled."""
    return UsingRules(flag.key, replace(FlagState.of(flag), enabled=True), flag.pk)


def rules_of_flags() -> Iterator[tuple[str, Any, object]]:
    """Yields the key, primary key and rules of each flag, by key, whatever JSON SQL has written."""
    if not flag_model().has(RULES):
        return
    flags = all_rows(conf.flag_model).exclude(key=None).order_by("key")
    # As text: the field of a project fails at JSON that Python cannot decode.
    for flag, pk, text in flags.values_list("key", "pk", Cast(RULES, TextField())):
        yield flag, pk, None if text is None else read_json(text)
