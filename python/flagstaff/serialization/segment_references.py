"""The segments that the rules of a file name, and the rules that name deleted segments."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from flagstaff._tables.model_fields import rules_field
from flagstaff._tables.rows import Fields
from flagstaff._text.lists import join_some
from flagstaff._text.rule_parts import named_segments
from flagstaff.changes.segment_use import RULES, other_rules_by_segment, rules_of_flags
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind
from flagstaff.serialization.document import SECTIONS, Item
from flagstaff.serialization.problems import Problems

__all__ = ["check_named", "check_unused", "segments_of"]


def segments_of(item: Item) -> set[str]:
    """Returns the keys of the segments that the rules of a flag in the file name."""
    return {key for key, _place in _named(item.kind, item.fields)}


def check_named(
    item: Item,
    fields: Fields,
    existing: Collection[str],
    deleted: Collection[str],
    problems: Problems,
) -> None:
    """Adds a problem for each segment that the fields to write name and that will not exist."""
    path = (*item.path, RULES)
    if problems.exists_at(path):
        return
    places: dict[str, str] = {}
    for key, place in _named(item.kind, fields):
        places.setdefault(key, place)
    for key, place in places.items():
        if key in deleted:
            text = "--delete-missing would delete, because the file does not have it"
        elif key not in existing:
            text = "is neither in the file nor in the database"
        else:
            continue
        advice = f"add it to the section `{SECTIONS[Kind.SEGMENT]}`"
        problems.add(path, f"{place} names the segment {key!r}, which {text}; {advice}")


def check_unused(deleted: Collection[str], written: Collection[str], problems: Problems) -> None:
    """Adds a problem for each segment to delete that flags or experiments of the database name.

    `written` are the keys of the flags that the import deletes, or whose rules it writes.
    """
    if not deleted:
        return
    named: dict[str, list[str]] = {key: [] for key in sorted(deleted)}
    flags = () if rules_field(conf.flag_model) is None else rules_of_flags()
    for flag, _pk, rules in flags:
        for key in {key for key, _place in named_segments(rules)} & named.keys():
            if flag not in written:
                named[key].append(repr(flag))
    for key, others in other_rules_by_segment().items():
        if key in named:
            named[key] += (f"{one.model._meta.verbose_name} {one.key!r}" for one in others)
    for key, users in named.items():
        if users:
            text = (
                f"the file does not have {key!r}, so --delete-missing would delete it, but the "
                f"rules of {join_some(users)} name it; add it, or change these rules"
            )
            problems.add((SECTIONS[Kind.SEGMENT],), text)


def _named(kind: Kind, fields: Fields) -> Iterator[tuple[str, str]]:
    if kind is Kind.FLAG and rules_field(conf.flag_model) is not None:
        yield from named_segments(fields.get(RULES))
