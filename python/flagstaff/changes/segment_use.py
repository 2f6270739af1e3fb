"""Which segments the rules of flags, values and experiments name. A segment in use must exist."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from django.db.models import Model, TextField
from django.db.models.functions import Cast

from flagstaff._tables.database import db
from flagstaff._tables.model_fields import RULES, segment_model
from flagstaff._tables.rows import Row, all_rows, similar_segments
from flagstaff._text import Sentence, say, some
from flagstaff._text.rules import named_segments
from flagstaff.changes.preview import expectation, is_preview
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidChangeError
from flagstaff.extensions import RULES as RULES_OF_APPS
from flagstaff.extensions import OtherRules
from flagstaff.history.kinds import Kind
from flagstaff.history.log import deleted_pk

# An attribute of a segment that no rule names, so that its deletion does not read all rules again.
_CHECKED = "_flagstaff_checked"


class SegmentInUseError(InvalidChangeError):
    """a rule names the segment; nothing was written"""

    def __init__(self, key: str, flags: str) -> None:
        text = say(
            "the segment {key} is used by the rules of {flags}; change these rules first",
            key=repr(key),
            flags=flags,
        )
        super().__init__(text)
        self.key = key


@dataclass(frozen=True, eq=False)
class SegmentUse:
    """A flag, a value or an experiment whose rules name a segment."""

    #: None for an experiment.
    kind: Kind | None
    #: The row of a flag or a value; the `OtherRules` of an experiment.
    row: Any

    @property
    def key(self) -> str:
        """The key of the flag, value or experiment."""
        return str(self.row.key)

    @property
    def row_id(self) -> tuple[Kind | None, str]:
        """The kind and the primary key of the row; the key of an experiment."""
        return self.kind, self.key if self.kind is None else str(self.row.pk)

    @property
    def model(self) -> type[Model]:
        """The model of the row that has the rules."""
        return self.row.model if self.kind is None else self.kind.model

    @property
    def is_active(self) -> bool:
        """Whether its rules decide about results now."""
        if self.kind is None:
            return bool(self.row.is_active)
        return bool(getattr(self.row, "enabled", True))

    def label(self, key: str = "") -> str:
        """Returns the key of a flag, or of another row with what it is, or another text for it."""
        text = key or self.key
        return text if self.kind is Kind.FLAG else f"{self.model._meta.verbose_name} {text}"


def require_segments(row: Row | Model, rules: object) -> None:
    """Raises InvalidChangeError if new rules name a segment that does not exist.

    Locks the segments until the transaction ends, so that no other one deletes them.
    """
    if not isinstance(row, (conf.flag_model, conf.value_model)):
        return
    if problem := missing_segment(rules, lock=not is_preview()):
        raise InvalidChangeError("{field}: {problem}", field=RULES, problem=problem)


def missing_segment(rules: object, *, lock: bool = False) -> Sentence | None:
    """Returns which rule names a segment that does not exist, and what to do; None without one."""
    return missing_among(rules, existing_segments([rules], lock=lock))


def existing_segments(written: Iterable[object], *, lock: bool = False) -> set[str]:
    """Returns the keys of the segments that these rules name, as far as they exist."""
    keys = {key for rules in written for key, _place in named_segments(rules)}
    if not keys:
        return set()
    if (expected := expectation()) is not None:
        return {key for key in keys if (Kind.SEGMENT, key) in expected.rows}
    rows = all_rows(segment_model())
    # In the order of keys, so that two calls cannot deadlock.
    if lock:
        no_key = db.connection.features.has_select_for_no_key_update
        rows = rows.select_for_update(no_key=no_key).order_by("key")
    return {*rows.filter(key__in=keys).values_list("key", flat=True)}


def missing_among(rules: object, existing: Collection[str | None]) -> Sentence | None:
    """Returns the same for the keys of the segments that exist."""
    for key, place in dict(reversed([*named_segments(rules)])).items():
        if key not in existing:
            return say(
                "{place} names the segment {key}, which does not exist; {advice}",
                place=place,
                key=repr(key),
                advice=_advice(key),
            )
    return None


def _advice(key: str) -> Sentence:
    if deleted_pk(Kind.SEGMENT, key) is not None:
        return say(
            'undo its deletion first with "{command}"',
            command=f"manage.py flags segment undo {shlex.quote(key)}",
        )
    return similar_segments(key) or say(
        'create it first with "{command}"', command="manage.py flags segment create"
    )


def keep_used_segment(segment: Model, using: str) -> None:
    """Raises InvalidChangeError before the ORM deletes a segment that a rule names."""
    if using != db.alias or _CHECKED in vars(segment):
        return
    # Locked, so that a concurrent change of rules, which locks it too, is seen.
    rows = all_rows(segment_model()).select_for_update().filter(pk=segment.pk)
    for key in rows.values_list("key", flat=True):
        require_unused(key, uses_by_segment()[key])


def delete_unused(segment: Row) -> None:
    """Deletes a locked segment that no rule names: the caller has read the rules."""
    vars(segment)[_CHECKED] = True
    segment.delete(using=db.alias)


def require_unused(key: str, uses: Collection[SegmentUse]) -> None:
    """Raises SegmentInUseError, which names what uses the segment, if there is anything.

    To be called before the segment is deleted.
    """
    if uses:
        raise SegmentInUseError(key, some(use.label(repr(use.key)) for use in uses))


def keys_that_name(key: str) -> dict[str, list[str]]:
    """Returns the keys of the flags, values and experiments whose rules name a segment.

    Reads all rules.
    """
    names = {Kind.FLAG: "flags", Kind.VALUE: "values", None: "experiments"}
    keys: dict[str, list[str]] = {name: [] for name in names.values()}
    for use in uses_by_segment()[key]:
        keys[names[use.kind]].append(use.key)
    return keys


def uses_by_segment() -> defaultdict[str, list[SegmentUse]]:
    """Returns what uses each segment, by its key: flags, values, then rows of optional apps.

    Reads all rules: whatever JSON SQL has written. A preview of what is expected reads them once.
    """
    expected = expectation()
    if expected is None:
        return _read_uses()
    if expected.uses is None:
        expected.uses = _read_uses()
    return cast("defaultdict[str, list[SegmentUse]]", expected.uses)


def _read_uses() -> defaultdict[str, list[SegmentUse]]:
    uses, by_segment = list[SegmentUse](), defaultdict[str, list[SegmentUse]](list)
    for kind in (Kind.FLAG, Kind.VALUE):
        rows = all_rows(kind.model).alias(text_of_rules=Cast(RULES, TextField())).order_by("key")
        # Of 10,000 flags with rules, few name a segment.
        uses += (SegmentUse(kind, row) for row in rows.filter(text_of_rules__contains='"segment"'))
    for use in (*uses, *(SegmentUse(None, rules) for rules in rules_of_apps())):
        for segment in dict(named_segments(use.row.rules)):
            by_segment[segment].append(use)
    return by_segment


def rules_of_apps() -> Iterator[OtherRules]:
    """Yields the rules of the optional apps."""
    for read in RULES_OF_APPS:
        yield from read()


def uses_of_segments(keys: Collection[str]) -> list[SegmentUse]:
    """Returns what uses these segments: flags, values, then experiments. Reads all rules."""
    uses = uses_by_segment()
    distinct_uses = dict.fromkeys(use for key in keys for use in uses[key])
    kinds = (Kind.FLAG, Kind.VALUE, None)
    return sorted(distinct_uses, key=lambda use: (kinds.index(use.kind), use.key))
