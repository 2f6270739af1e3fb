"""The newest change of a flag in a few words, such as "25 → 50 %"."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from flagstaff._words.lists import local_list
from flagstaff._words.local_formats import local_number
from flagstaff.history.describe import field_label
from flagstaff.history.events import Difference, Event

_MAX_PARTS = 3


def change_text(event: Event) -> str:
    """Returns the most important differences of an event. Shows no name of a user."""
    if event.action == "create":
        return _("created")
    return local_list(_parts(event), _MAX_PARTS)


def _parts(event: Event) -> Iterator[str]:
    by_name = {one.field: one for one in event.differences}
    if enabled := by_name.pop("enabled", None):
        yield f"{_on_off(enabled.old)} → {_on_off(enabled.new)}"
    if rollout := by_name.pop("rollout_percent", None):
        yield _percent(rollout)
    if count := event.added.count:
        text = ngettext("%(count)s user added", "%(count)s users added", count)
        yield text % {"count": local_number(count)}
    if count := event.removed.count:
        text = ngettext("%(count)s user removed", "%(count)s users removed", count)
        yield text % {"count": local_number(count)}
    yield from map(field_label, by_name)


def _percent(difference: Difference) -> str:
    values = {"old": difference.old, "new": difference.new}
    return _("%(old)s → %(new)s %%") % values


def _on_off(value: object) -> str:
    if value:
        return pgettext("state of a flag", "on")
    return pgettext("state of a flag", "off")
