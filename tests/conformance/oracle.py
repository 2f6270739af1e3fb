"""What is right: the article's code, over the ORM or over something that looks like it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Value

__all__ = ["Article", "Shelf", "as_user"]


class Article:
    """The article's code, with the one line changed that is marked."""

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


def as_user(asker: Any) -> Any:
    """The adapter: the article knows users only, no bare primary keys."""
    return _Bare(asker) if isinstance(asker, int | str | UUID) else asker


class _Bare:
    def __init__(self, pk: object) -> None:
        self.pk = pk if _is_canonical(pk) else _Unlisted(pk)


def _is_canonical(pk: object) -> bool:
    field = get_user_model()._meta.pk
    try:
        return str(field.to_python(pk)) == str(pk)
    except ValidationError:
        return False


class _Unlisted(str):
    """A text that is nobody's primary key, where the ORM would convert it or raise."""

    __slots__ = ()

    def resolve_expression(self, *args: Any, **kwargs: Any) -> Any:
        field = get_user_model()._meta.pk
        return Value(None, output_field=field).resolve_expression(*args, **kwargs)


class Shelf:
    """Looks to the article like a model, and asks no database."""

    class DoesNotExist(Exception):  # noqa: N818 (it is Django's name)
        pass

    def __init__(self) -> None:
        self.objects = self
        self._flags: dict[str, _ShelvedFlag] = {}

    def put(self, key: str, *, enabled: bool, percent: int, allowed: Iterable[str]) -> None:
        self._flags[key] = _ShelvedFlag(enabled, percent, frozenset(allowed))

    def get(self, *, key: str) -> _ShelvedFlag:
        if key not in self._flags:
            raise self.DoesNotExist
        return self._flags[key]


class _ShelvedFlag:
    def __init__(self, enabled: bool, percent: int, allowed: frozenset[str]) -> None:
        self.enabled = enabled
        self.rollout_percent = percent
        self.allowed_users = _AllowList(allowed)


class _AllowList:
    def __init__(self, pks: frozenset[str]) -> None:
        self._pks = pks

    def filter(self, *, pk: object) -> _AllowList:
        return _AllowList(self._pks & {str(pk)})

    def exists(self) -> bool:
        return bool(self._pks)
