"""What was typed for a user → the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet

from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError

__all__ = ["Found", "find_user", "name_of"]


@dataclass(frozen=True)
class Found:
    """A user, and by what they were found."""

    pk: Any
    name: str | None
    #: "primary key" or the name of the model's USERNAME_FIELD; None where there is no such user.
    by: str | None


def find_user(text: str) -> Found:
    """The user with this primary key; or else with this username.

    A text that could be a primary key stands for itself where nobody has it: questions take bare
    keys too. Raises FlagstaffError where it is neither.
    """
    pk = _as_pk(text)
    username = getattr(_user_model(), "USERNAME_FIELD", None)
    if pk is not None and (user := _users().filter(pk=pk).first()):
        return Found(user.pk, name_of(user), "primary key")
    if username and (user := _users().filter(**{username: text}).first()):
        return Found(user.pk, name_of(user), username)
    if pk is None:
        tried = f"primary key or {username}" if username else "primary key"
        raise FlagstaffError(f"no user has the {tried} {text!r}")
    return Found(pk, None, None)


def name_of(user: Model) -> str:
    """What a person calls the user, where the model has a field for that."""
    return str(getattr(user, getattr(user, "USERNAME_FIELD", "pk")))


def _as_pk(text: str) -> Any:
    try:
        return cast("Any", _user_model()._meta.pk).to_python(text)
    except ValidationError:
        return None


def _user_model() -> type[Model]:
    """The model that the allow-list names, which need not be AUTH_USER_MODEL."""
    field: Any = conf.flag_model._meta.get_field("allowed_users")
    return cast("type[Model]", field.related_model)


def _users() -> QuerySet[Any]:
    return _user_model()._base_manager.all()
