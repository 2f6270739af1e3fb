"""A permission for Django REST framework: the endpoint is there for those who have a flag."""

from __future__ import annotations

from typing import Any, Literal

from rest_framework.exceptions import NotFound
from rest_framework.permissions import BasePermission

from flagstaff._engine.request_flags import evaluator_of

__all__ = ["HasFlag"]

_NOT_FOUND, _FORBIDDEN = 404, 403


class _HasFlag(BasePermission):  # type: ignore[misc]
    key: str
    status: int

    def has_permission(self, request: Any, view: Any) -> bool:
        """Whether the request's user has the flag."""
        # A view that only a schema is made of: nobody asks, and the endpoint is to be in it.
        if request is None or getattr(view, "swagger_fake_view", False):
            return True
        return evaluator_of(request).flag_enabled(self.key, request.user)

    def has_object_permission(self, request: Any, view: Any, obj: Any) -> bool:
        """The same for every object, also where the permission is negated."""
        return self.has_permission(request, view)

    @property
    def message(self) -> str:
        """What the refusal says.

        The framework looks for it only when it refuses. To raise here and not before leaves
        `HasFlag("new_api") | IsAdminUser` its second half.
        """
        text = f"the flag {self.key} is not on for this user"
        if self.status == _NOT_FOUND:
            raise NotFound(text)
        return text


def HasFlag(key: str, *, status: Literal[404, 403] = 404) -> type[BasePermission]:  # noqa: N802 (used like the framework's classes)
    """Make a permission class: the endpoint is there for those who have the flag `key`.

    Everybody else gets a 404, or with `status=403` a refusal (a 401 where they should log in).

        class Orders(APIView):
            permission_classes = [IsAuthenticated, HasFlag("new_api")]

    Raises TypeError or ValueError for a wrong argument.
    """
    if not isinstance(key, str):
        raise TypeError(f"the key of a flag is a text, not {key!r}")
    if status not in (_NOT_FOUND, _FORBIDDEN):
        raise ValueError(f"the status is 404 or 403, not {status!r}")
    return type("HasFlag", (_HasFlag,), {"key": key, "status": status, "__module__": __name__})
