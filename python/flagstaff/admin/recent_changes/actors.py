"""Finds the actors that match a filter."""

from __future__ import annotations

from functools import reduce
from operator import or_

from django.db.models import Q

from flagstaff._tables.model_fields import find_field
from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.storable import is_storable
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.history.selection import stored_actors

# The fields of a user model that may hold a name, besides the username.
_NAMES = ("first_name", "last_name", "email")
# The number of users whose name contains the text that are searched for.
_MAX_USERS = 50
_NO_USERS: set[str] = set()


def matching_actors(text: str, *, may_see_users: bool) -> set[str]:
    """Returns the actors that a text may mean: an actor or a username, or else parts of names.

    Those who may not see users can search by username only: it is what the page shows.
    """
    exact = stored_actors(text)
    if len(exact) > 1 or not is_storable(text):
        return exact
    others = _NAMES if may_see_users else ()
    return exact | value_or_default(
        "users cannot be searched", lambda: _with_name(text, others), _NO_USERS
    )


def _with_name(text: str, others: tuple[str, ...]) -> set[str]:
    users = actor_table()
    username = users.username_field
    names = [username.name] if username else []
    names += [name for name in others if find_field(users.field.model, name) and name not in names]
    if not names:
        return set()
    named = reduce(or_, (Q(**{f"{name}__icontains": text}) for name in names))
    pks = users.rows.filter(named).order_by().values_list(users.field.name, flat=True)
    return {str(pk) for pk in pks[:_MAX_USERS]}
