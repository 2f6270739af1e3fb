"""The names of the users that a history speaks of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from flagstaff._tables.names import user_field
from flagstaff.conf import conf
from flagstaff.history.events import Event

__all__ = ["may_see_users", "names_of_actors", "names_of_users", "permission_to_see_users"]


def names_of_actors(events: Iterable[Event]) -> dict[str, str]:
    """Who acted, by what the history calls them. A name that is no primary key has none here."""
    model = get_user_model()
    texts = {event.actor for event in events if event.actor is not None}
    return _names(model._base_manager.all(), model._meta.pk, texts)


def names_of_users(events: Iterable[Event]) -> dict[str, str]:
    """The users that added and removed, as far as the events name them."""
    texts = {str(pk) for event in events for pk in (*event.added.pks, *event.removed.pks)}
    field = user_field(conf.flag_model)
    return _names(field.model._base_manager.using(conf.database), field, texts)


def permission_to_see_users() -> str:
    """The permission that Django makes for the user model of the allow-list."""
    meta = user_field(conf.flag_model).model._meta
    return f"{meta.app_label}.view_{meta.model_name}"


def may_see_users(user: Any) -> bool:
    """Whether a person may know who is on an allow-list, and not only how many are."""
    return bool(user.has_perm(permission_to_see_users()))


def _names(rows: QuerySet[Any], field: Any, texts: Iterable[str]) -> dict[str, str]:
    pks = [pk for pk in (_as_pk(field, text) for text in texts) if pk is not None]
    if not pks:
        return {}
    username = getattr(rows.model, "USERNAME_FIELD", field.name)
    found = rows.filter(**{f"{field.name}__in": pks})
    return {str(getattr(row, field.attname)): str(getattr(row, username)) for row in found}


def _as_pk(field: Any, text: str) -> Any:
    """The primary key that a text stands for. A name such as "deploy" is none."""
    try:
        pk = field.to_python(text)
    except (ValidationError, ValueError, TypeError):
        return None
    # An integer that no column holds would be an error of the database.
    is_too_long = isinstance(pk, int) and not -(2**31) <= pk < 2**63
    return None if is_too_long or str(pk) != text else pk
