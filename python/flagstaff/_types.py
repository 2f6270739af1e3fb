"""The types of what the functions accept as user, as context, and as fields of rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypedDict
from uuid import UUID

from django.db.models import Model, TextChoices
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


class FlagFields(TypedDict, total=False):
    """The fields of a flag that `changes.flags.create` and `update` accept by name."""

    enabled: bool
    rollout_percent: int
    bucket_by: str
    allowed_users: UserLike | Iterable[UserLike]
    rules: Sequence[Mapping[str, Any]]
    description: str
    kind: Literal["release", "ops", "permission"] | TextChoices
    client_side: bool
    owner: str
    tags: Sequence[str]
    review_on: date | str | None


class NewValueFields(TypedDict, total=False):
    """The fields that `changes.values.create` accepts by name, beside the value itself."""

    description: str
    secret: bool
    type: Literal["", "string", "number", "integer", "boolean", "object", "array"] | TextChoices
    choices: Sequence[Any]
    rules: Sequence[Mapping[str, Any]]
    bucket_by: str
    client_side: bool


class ValueFields(NewValueFields, total=False):
    """The fields of a value that `changes.values.update` accepts by name."""

    value: object


class SegmentFields(TypedDict, total=False):
    """The fields of a segment that `changes.segments.update` accepts by name."""

    conditions: Sequence[Mapping[str, Any]]
    description: str
