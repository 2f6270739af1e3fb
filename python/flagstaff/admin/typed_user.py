"""The user of an evaluation as a person types it: a username or a primary key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from flagstaff._engine.status import status
from flagstaff._tables.user_lookup import FoundUser, allowed_user_table
from flagstaff._words.text import localized
from flagstaff.actions.arguments import unknown_users
from flagstaff.exceptions import FlagstaffError

# The process evaluates what is stored, or has not evaluated anything.
_CURRENT_MODES = {"live", "direct", "idle"}


@dataclass(frozen=True)
class TypedUser:
    """The user that a text stands for."""

    #: None for an anonymous user.
    found: FoundUser | None = None
    #: What is wrong with the text; empty if nothing is.
    problem: str = ""

    @property
    def argument(self) -> Any:
        """What evaluations get. A primary key without a row is a user, too."""
        if self.found is None:
            return None
        # Rules read the columns of the row.
        return self.found.pk if self.found.row is None else self.found.row

    @property
    def name(self) -> str | None:
        """The user in words; None if it is anonymous."""
        if (user := self.found) is None:
            return None
        if user.name is None or user.name == str(user.pk):
            return _("primary key %(pk)s") % {"pk": user.pk}
        return _("%(name)s (primary key %(pk)s)") % {"name": user.name, "pk": user.pk}

    @property
    def words(self) -> str:
        """The user in words, also if it is anonymous."""
        return self.name or _("anonymous users")

    def notes(self) -> Iterator[str]:
        """Yields what a reader of the result must know. Does not query."""
        if self.found is not None and self.found.by is None:
            text = _(
                "No user has the primary key %(pk)s. The result is that of the bare primary key."
            )
            yield text % {"pk": self.found.pk}
        worker = status()
        if worker.mode not in _CURRENT_MODES:
            text = _("This process is not live (%(reason)s), so its own results may be older.")
            yield text % {"reason": localized(worker.mode_reason or worker.mode)}


def typed_user(text: str) -> TypedUser:
    """Returns the user of a text; an empty one stands for an anonymous user. Queries the users."""
    if not text:
        return TypedUser()
    try:
        return TypedUser(allowed_user_table().find(text))
    except FlagstaffError:
        return TypedUser(problem=unknown_users([text]))
