"""An event in words, as a terminal, a page and a message show it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff.history.events import Difference, Event, Users

__all__ = ["SECRET", "describe_actor", "describe_change"]

#: What stands in the place of a secret.
SECRET = "••••••"  # noqa: S105 (no password, but what hides one)

_MOST_NAMED = 10
_Names = Mapping[str, str]


class _Deed(Protocol):
    """What was done, or would be done, to one flag or value."""

    @property
    def action(self) -> str: ...
    @property
    def differences(self) -> Sequence[Difference]: ...
    @property
    def added(self) -> Users: ...
    @property
    def removed(self) -> Users: ...


def describe_actor(event: Event, names: _Names | None = None) -> str:
    """Who did it: the claim of the application, and else who was connected."""
    if event.actor is None:
        return _("%(user)s (database user)") % {"user": event.session_user}
    return (names or {}).get(event.actor, event.actor)


def describe_change(event: _Deed, names: _Names | None = None) -> str:
    """What it did: field, old → new. With names, those of the users too."""
    told = _row(event)
    if event.added.count:
        count = event.added.count
        text = ngettext("added %(count)s allowed user", "added %(count)s allowed users", count)
        told.append(text % {"count": f"{count:,}"} + _named(event.added, names))
    if event.removed.count:
        count = event.removed.count
        text = ngettext("removed %(count)s allowed user", "removed %(count)s allowed users", count)
        told.append(text % {"count": f"{count:,}"} + _named(event.removed, names))
    return ", ".join(told) or _("nothing that is still known")


def _row(event: _Deed) -> list[str]:
    if event.action == "create":
        return [_("created"), *(_side(one, one.new) for one in _telling(event) if one.new)]
    if event.action == "delete":
        return [_("deleted"), *(_side(one, one.old) for one in _telling(event) if one.old)]
    return [_change(difference) for difference in event.differences]


def _telling(event: _Deed) -> list[Difference]:
    """What is worth a word of a whole row: its key is said elsewhere."""
    return [one for one in event.differences if one.field not in ("key", "created_at")]


def _change(difference: Difference) -> str:
    old, new = (_text(difference, value) for value in (difference.old, difference.new))
    return f"{difference.field} {old} → {new}"


def _side(difference: Difference, value: Any) -> str:
    return f"{difference.field} {_text(difference, value)}"


def _text(difference: Difference, value: Any) -> str:
    return SECRET if difference.secret else json.dumps(value, ensure_ascii=False)


def _named(users: Users, names: _Names | None) -> str:
    if names is None:
        return ""
    shown = [names.get(str(pk), str(pk)) for pk in users.pks[:_MOST_NAMED]]
    more = users.count - len(shown)
    if more > 0:
        shown.append(_("%(count)s more") % {"count": f"{more:,}"})
    return f" ({', '.join(shown)})"
