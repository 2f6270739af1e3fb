"""The names of the users in the history, and who may see them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol

from django.db import Error, transaction

from flagstaff._tables.names import user_field
from flagstaff._tables.user_lookup import actor_table, allowed_user_table
from flagstaff.conf import conf
from flagstaff.history.describe import Authored, DescribableChange
from flagstaff.history.log import Event


class HasPermissions(Protocol):
    """A user of Django's permission system."""

    def has_perm(self, perm: str, /) -> bool: ...


def names_of_actors(events: Iterable[Authored]) -> dict[str, str]:
    """Returns usernames by the text that the history stores as the actor.

    An actor that is not a primary key, such as "deploy", is left out. Queries the users.
    """
    return actor_table().names({event.actor for event in events if event.actor is not None})


def readable_names_of_actors(events: Collection[Authored]) -> dict[str, str]:
    """Returns usernames as `names_of_actors` does; none if the role may not read users."""
    if not events:
        return {}
    try:
        with transaction.atomic(using=actor_table().database):
            return names_of_actors(events)
    except Error:
        return {}


def names_of_users(events: Iterable[DescribableChange]) -> dict[str, str]:
    """Returns usernames by primary key of the added and removed users. Queries the users."""
    lists = (users for event in events for users in (event.added, event.removed))
    return allowed_user_table().names({str(pk) for users in lists for pk in users.pks})


def names_in(
    events: Collection[Event], others: Collection[Authored] = ()
) -> tuple[dict[str, str], dict[str, str]]:
    """Returns what names_of_actors and names_of_users return, in one query if one table has both.

    One dict may then have the names of the other, too. `others` only have actors.
    """
    authored = [*events, *others]
    if actor_table() != allowed_user_table():
        return names_of_actors(authored), names_of_users(events)
    lists = (users for event in events for users in (event.added, event.removed))
    pks = {str(pk) for users in lists for pk in users.pks}
    names = actor_table().names(
        pks | {record.actor for record in authored if record.actor is not None}
    )
    return names, names


def permission_to_see_users() -> str:
    """Returns the "view" permission of the model that allowed users refer to."""
    meta = user_field(conf.flag_model).model._meta
    return f"{meta.app_label}.view_{meta.model_name}"


def may_see_users(user: HasPermissions) -> bool:
    """Returns True if a person may see which users are allowed, and not only how many."""
    return user.has_perm(permission_to_see_users())
