"""The reference: the article's code, on the ORM or on a stand-in for it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Value


class Article:
    """The article's code. The one changed line is marked."""

    def __init__(self, feature_flag: Any) -> None:
        self.feature_flag = feature_flag

    def flag_enabled(self, key: str, user: Any = None) -> bool:
        try:
            flag = self.feature_flag.objects.get(key=key)
        except self.feature_flag.DoesNotExist:
            return False
        if not flag.enabled:
            return False
        # The changed line: here the article hashes "None" for users without a primary key.
        user = None if not user or user.pk is None else user
        if user and flag.allowed_users.filter(pk=user.pk).exists():
            return True
        if flag.rollout_percent >= 100:
            return True
        if not user:
            return False
        bucket = int(hashlib.sha256(f"{key}:{user.pk}".encode()).hexdigest(), 16) % 100
        return bool(bucket < flag.rollout_percent)


def as_user(user: Any) -> Any:
    """Wraps a bare primary key, because the article's code takes only users."""
    return _BareUser(user) if isinstance(user, int | str | UUID) else user


class _BareUser:
    def __init__(self, pk: object) -> None:
        self.pk = pk if _is_canonical(pk) else _Unlisted(pk)


def _is_canonical(pk: object) -> bool:
    field = get_user_model()._meta.pk
    try:
        return str(field.to_python(pk)) == str(pk)
    except ValidationError:
        return False


class _Unlisted(str):
    """A text that is no user's primary key, although the ORM would convert it or raise."""

    __slots__ = ()

    def resolve_expression(self, *args: Any, **kwargs: Any) -> Any:
        field = get_user_model()._meta.pk
        return Value(None, output_field=field).resolve_expression(*args, **kwargs)


class FlagStore:
    """A stand-in for the model that needs no database."""

    class DoesNotExist(Exception):  # noqa: N818 (it is Django's name)
        pass

    def __init__(self) -> None:
        self.objects = self
        self._flags: dict[str, SimpleNamespace] = {}

    def put(self, key: str, *, enabled: bool, percent: int, allowed: Iterable[str]) -> None:
        users = _AllowedUsers(frozenset(allowed))
        self._flags[key] = SimpleNamespace(
            enabled=enabled, rollout_percent=percent, allowed_users=users
        )

    def get(self, *, key: str) -> SimpleNamespace:
        if key not in self._flags:
            raise self.DoesNotExist
        return self._flags[key]


class _AllowedUsers:
    def __init__(self, pks: frozenset[str]) -> None:
        self._pks = pks

    def filter(self, *, pk: object) -> _AllowedUsers:
        return _AllowedUsers(self._pks & {str(pk)})

    def exists(self) -> bool:
        return bool(self._pks)
