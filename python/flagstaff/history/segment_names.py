"""Which segment a key meant at an earlier time. Rules name keys, and a segment can be renamed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django.db.models import Q
from django.db.models.fields.json import KeyTextTransform

from flagstaff._tables.model_fields import segment_model
from flagstaff._tables.rows import all_rows
from flagstaff._words.rule_parts import named_segments, with_segment_names
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import all_entries, has_history


@dataclass(frozen=True)
class _KeyEntry:
    """An entry about a segment, with its key before and after; None if there was no row."""

    id: int
    pk: str
    old: str | None
    new: str | None


@dataclass(frozen=True)
class SegmentNames:
    """The segments that had some keys, and the keys that they have now."""

    #: By key, oldest first.
    _entries: Mapping[str, Sequence[_KeyEntry]] = field(default_factory=dict)
    #: The present keys by primary key.
    _present: Mapping[str, str] = field(default_factory=dict)
    #: The last keys of deleted segments by primary key, if no other segment has them.
    _deleted: Mapping[str, str] = field(default_factory=dict)

    def renamed_since(self, rules: object, entry: int) -> dict[str, str]:
        """Returns the present keys of segments that have been renamed, by their keys in the rules.

        `rules` are those right before an entry of the history. A deleted segment has its last key.
        """
        keys = {**self._deleted, **self._present}
        pks = {key: self._pk(key, entry) for key, _place in named_segments(rules)}
        found = {key: keys.get(pk or "", key) for key, pk in pks.items()}
        return {key: new for key, new in found.items() if new != key}

    def present_rules(self, rules: object, entry: int) -> object:
        """Returns the rules right before an entry with the present keys of their segments."""
        renamed = self.renamed_since(rules, entry)
        return with_segment_names(rules, renamed) if renamed else rules

    def present_key(self, key: str) -> str | None:
        """Returns the key of the segment that last had this key; None if there is none."""
        entries = self._entries.get(key)
        return self._present.get(self._pk(key, entries[-1].id + 1) or "") if entries else None

    def _pk(self, key: str, entry: int) -> str | None:
        """Returns the primary key of the segment that had a key right before an entry."""
        entries = self._entries.get(key, ())
        before = [one.pk for one in entries if one.id < entry and one.new == key]
        # Without an older entry, which may have been pruned, the next one has the key as the old.
        after = [one.pk for one in entries if one.id >= entry and one.old == key]
        return before[-1] if before else next(iter(after), None)


def segment_names(rules: Iterable[object]) -> SegmentNames:
    """Returns what became of the segments that these rules name. Few queries, or none."""
    return names_of_keys({key for one in rules for key, _place in named_segments(one)})


def names_of_keys(keys: Collection[str]) -> SegmentNames:
    """Returns what became of the segments that had these keys. Few queries, or none."""
    if not keys or not has_history():
        return SegmentNames()
    texts = {side: KeyTextTransform("key", side) for side in ("old", "new")}
    about = all_entries().filter(relation=Kind.SEGMENT.row_relation)
    about = about.alias(old_key=texts["old"]).filter(Q(key__in=keys) | Q(old_key__in=keys))
    entries = about.order_by("id").values_list("id", "object_pk", texts["old"], texts["new"])
    by_key: dict[str, list[_KeyEntry]] = defaultdict(list)
    pks = set[str]()
    for one in entries:
        entry = _KeyEntry(*one)
        pks.add(entry.pk)
        for key in {entry.old, entry.new} - {None}:
            by_key[str(key)].append(entry)
    rows = all_rows(segment_model()).filter(pk__in=pks).values_list("pk", "key") if pks else ()
    present = {str(pk): key for pk, key in rows}
    return SegmentNames(by_key, present, _last_keys(pks - present.keys()))


def _last_keys(deleted: Collection[str]) -> dict[str, str]:
    """Returns the last keys of deleted segments that are free, by primary key."""
    if not deleted:
        return {}
    about = all_entries().filter(relation=Kind.SEGMENT.row_relation, object_pk__in=deleted)
    last = dict(about.order_by("id").values_list("object_pk", "key"))
    taken = {*all_rows(segment_model()).filter(key__in=last.values()).values_list("key", flat=True)}
    return {pk: key for pk, key in last.items() if key not in taken}
