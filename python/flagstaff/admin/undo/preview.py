"""What the page of an undo shows: each row before and after, and the effect on the users."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._events import Event
from flagstaff._tables.flag_states import FlagState, state_summary
from flagstaff._words.text import local_list, local_number, localized, quoted
from flagstaff.admin.confirmation import MAX_TEXT, describe_changed
from flagstaff.admin.links import admin_of
from flagstaff.admin.recent_changes.filters import KIND_LABELS
from flagstaff.admin.recent_changes.urls import restore_url
from flagstaff.admin.segment.plan import visible_refusal
from flagstaff.admin.undo.permissions import Write, require_release, write_of
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.changes.changed import Changed
from flagstaff.changes.consequence import impact_text, text_for_many, text_to_type
from flagstaff.changes.impact import Impact, impact_of_changes
from flagstaff.changes.undoing.plan import RowPlan, UndoneEvents, UndoPlan
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.describe import Names, describe_change
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import read_events
from flagstaff.history.user_names import may_see_users, names_of_users
from flagstaff.history.versions import all_entries


@dataclass(frozen=True)
class UndoPreview:
    """The plan of an undo, in words."""

    site: AdminSite
    request: HttpRequest
    plan: UndoPlan
    #: All events belong to a transaction, which is undone as a whole.
    is_whole: bool

    @cached_property
    def possible(self) -> list[UndoneEvents]:
        """The events that can be undone."""
        return [undone for undone in self.plan.events if undone.changed is not None]

    @property
    def deletes(self) -> bool:
        """Whether a row is deleted."""
        return any(_write_of(undone) == "delete" for undone in self.possible)

    @property
    def turns_off(self) -> bool:
        """Whether flags are disabled and nothing else happens, which never needs a reason."""
        return all(changed.new == {"enabled": False} for _kind, changed in self.plan.written)

    @cached_property
    def refusals(self) -> Sequence[str]:
        """Why nothing is undone, or which flags the user may not release. PermissionDenied."""
        refusals = []
        if self.plan.refusal is not None:
            refusals = [visible_refusal(self.site, self.request, self.plan.refusal)]
        elif self.is_whole:
            refusals = [localized(one.problem) for one in self.plan.events if one.error is not None]
        try:
            require_release(self.site, self.request, self.plan.effects)
        except FlagstaffError as error:
            refusals.append(localized(error.message))
        return refusals

    @cached_property
    def effect(self) -> Impact:
        """The effect on users. Counts them."""
        is_coarse = not may_see_users(self.request.user)
        return impact_of_changes(self.plan.effects, is_coarse=is_coarse)

    @property
    def text_to_type(self) -> str:
        """What a person has to type: as for one change of a row, or as for several rows."""
        if len(self.possible) == 1 and not self.deletes:
            return text_to_type(self.effect)
        return text_for_many([undone.key for undone in self.possible]) if self.possible else ""

    @property
    def question(self) -> str:
        """The question, or why there is none."""
        if not self.possible:
            return _("None of these changes can be undone.")
        if not self.plan.written:
            return _("There is nothing to undo.")
        if len(self.plan.events) > 1:
            return _(
                "Undo these changes? They are undone in one transaction: all of them, or none."
            )
        [only] = self.possible
        is_back = _write_of(only) == "add"
        text = _("Bring back “%(key)s”?") if is_back else _("Undo this change of “%(key)s”?")
        return text % {"key": only.key}

    @property
    def label(self) -> str:
        """The label of the button."""
        writes = [_write_of(undone) for undone in self.plan.events]
        if writes == ["add"]:
            return _("Bring back")
        events = zip(self.plan.events, writes, strict=True)
        count = sum(len(undone.events) for undone, write in events if write)
        label = ngettext("Undo %(count)s change", "Undo %(count)s changes", count)
        return label % {"count": local_number(count)}

    @property
    def notes(self) -> Iterator[str]:
        """What is easily missed among other rows."""
        if keys := [one.key for one in self.possible if _write_of(one) == "delete"]:
            text = ngettext(
                "This deletes %(keys)s.", "This deletes %(count)s rows: %(keys)s.", len(keys)
            )
            quoted_keys = local_list(map(quoted, keys))
            yield text % {"count": local_number(len(keys)), "keys": quoted_keys}
        for undone in self.possible:
            if undone.kind is Kind.FLAG and (state := undone_state(undone.changed)):
                text = _("%(key)s afterwards: %(state)s")
                yield text % {"key": quoted(undone.key), "state": state}
        blocked = sum(len(one.events) for one in self.plan.events if one.changed is None)
        # Without a possible one, the question says it.
        if blocked and self.possible and not self.is_whole:
            text = ngettext(
                "%(count)s change cannot be undone and is left out.",
                "%(count)s changes cannot be undone and are left out.",
                blocked,
            )
            yield text % {"count": local_number(blocked)}
        if text := impact_text(self.effect):
            yield text

    def lines(self) -> list[dict[str, object]]:
        """A line for the events of each row. A query for each kind, and one for the users."""
        events = _events(self.plan.rows)
        names = None
        if may_see_users(self.request.user):
            names = names_of_users(event for some in events.values() for event in some)
        return [
            {
                "kind": KIND_LABELS[undone.kind],
                "key": undone.key,
                "change": _described(undone, events[undone.kind, undone.pk], names),
                "after": "" if undone.changed is None else _after(self.request, undone.changed),
                "problem": localized(undone.problem),
                "is_deletion": _write_of(undone) == "delete",
                "restore_url": self._restore_url(row, undone),
            }
            for row in self.plan.rows
            for undone in row.results
        ]

    def _restore_url(self, row: RowPlan, undone: UndoneEvents) -> str:
        """The page that restores the state before the change, if that is the way on."""
        admin = admin_of(self.site, undone.kind.model)
        if undone.restore_to is None or row.item.row is None or admin is None:
            return ""
        if not admin.has_change_permission(self.request, row.item.row):
            return ""
        return restore_url(self.site, undone.kind, undone.pk, undone.restore_to)


def change_texts(request: HttpRequest, changed: Changed) -> dict[str, str]:
    """Returns the key and the description of a change, for a sentence."""
    return {"key": changed.key, "change": describe_changed(request, changed)}


def skipped_text(missing: Collection[object]) -> str:
    """Returns the sentence about users who no longer exist, after a space; empty without any."""
    if not (count := len(missing)):
        return ""
    text = ngettext(
        "%(count)s user no longer exists and was skipped.",
        "%(count)s users no longer exist and were skipped.",
        count,
    )
    return f" {text % {'count': local_number(count)}}"


def undone_state(changed: Changed | None) -> str:
    """Returns which users have a flag that is created again; empty for another change."""
    new = None if changed is None or changed.old is not None else changed.new
    if new is None or "rollout_percent" not in new:
        return ""
    return state_summary(FlagState.of_fields(new), len(new.get(ALLOWED, ())))


def _events(rows: Sequence[RowPlan]) -> Mapping[tuple[Kind, str], Sequence[Event]]:
    """The events of the rows from the first to the last version that is to be undone."""
    ranges = [event for row in rows for undone in row.results for event in undone.events]
    first, last = min(one.first for one in ranges), max(one.last for one in ranges)
    events: dict[tuple[Kind, str], list[Event]] = defaultdict(list)
    for kind in {row.item.kind for row in rows}:
        pks = [row.item.pk for row in rows if row.item.kind is kind]
        entries = all_entries().filter(relation__in=kind.relations, object_pk__in=pks)
        for event in read_events(kind, entries.filter(id__range=(first, last)), shorten=True):
            events[kind, event.object_pk].append(event)
    return events


def _described(undone: UndoneEvents, events: Sequence[Event], names: Names | None) -> str:
    """What was changed, oldest first."""
    return "; ".join(
        describe_change(event, names, limit=MAX_TEXT)
        for event in reversed(events)
        if any(first <= event.version <= last for first, last in undone.events)
    )


def _after(request: HttpRequest, changed: Changed) -> str:
    if changed.new is None:
        return _("will be deleted")
    if not changed.written:
        return _("will not change: it already has its earlier state")
    if changed.old is None:
        text = _("will be created again, as it was before")
    else:
        text = describe_changed(request, changed, limit=MAX_TEXT)
    return text + skipped_text(changed.missing)


def _write_of(undone: UndoneEvents) -> Write | None:
    """What the undo does to the row; None if it writes nothing."""
    changed = undone.changed
    return write_of(changed) if changed is not None and changed.written else None
