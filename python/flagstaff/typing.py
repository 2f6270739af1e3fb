"""Types for the annotations of your own code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from uuid import UUID

from django.db.models import Model
from django.http import HttpRequest
from django.utils.functional import LazyObject

__all__ = ["Context", "FlagstaffRequest", "HasPrimaryKey", "UserLike"]

if TYPE_CHECKING:
    from flagstaff._engine.request_flags import RequestFlags

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


class FlagstaffRequest(HttpRequest):
    """A request with the attribute `flags`, which FlagstaffMiddleware sets.

    Only for annotations: the middleware changes no class.

        def checkout(request: FlagstaffRequest) -> HttpResponse:
            if request.flags.enabled("new_checkout"): ...
    """

    flags: RequestFlags
