"""The problem of texts that name no user, with a similar username."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._words.lists import local_list
from flagstaff._words.local_formats import quoted

_MAX_LISTED = 10


def unknown_problem(unknown: Sequence[str]) -> str:
    """Returns why these texts stand for no user; "" without texts. Queries the users."""
    if not unknown:
        return ""
    table = allowed_user_table()
    _found, shared = table.by_username(unknown)
    missing = [text for text in unknown if text not in shared]
    sentences = []
    if missing:
        text = ngettext(
            "No user has this primary key or username: %(names)s.",
            "No users have these primary keys or usernames: %(names)s.",
            len(missing),
        )
        sentences.append(text % {"names": _listed(missing)})
    if len(missing) == 1 and (similar := table.similar(missing[0])):
        sentences.append(_("Did you mean “%(name)s”?") % {"name": similar})
    if shared:
        text = ngettext(
            "Several users have this username, so write a primary key: %(names)s.",
            "Several users have these usernames, so write primary keys: %(names)s.",
            len(shared),
        )
        sentences.append(text % {"names": _listed(sorted(shared))})
    return " ".join(sentences)


def _listed(names: Iterable[str]) -> str:
    return local_list((quoted(name) for name in names), _MAX_LISTED)
