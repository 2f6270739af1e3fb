"""The types of what the functions accept as user and as context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from uuid import UUID

from django.db.models import Model
from django.utils.functional import LazyObject

if TYPE_CHECKING:
    _LazyUser: TypeAlias = LazyObject[Any]
else:
    _LazyUser = LazyObject


class HasPrimaryKey(Protocol):
    """An object with a primary key: a user of any user model, or AnonymousUser."""

    @property
    def pk(self) -> object:
        """The primary key; None for an anonymous or unsaved user."""


#: What `flag_enabled` and the other functions accept as `user`.
# Model, because without stubs for Django no checker finds that a model has a `pk`.
UserLike: TypeAlias = Model | HasPrimaryKey | int | str | UUID | _LazyUser | None


#: What the functions accept as `context`: names and values that rules may read.
Context: TypeAlias = Mapping[str, object] | None
