"""A permission class of Django REST framework that makes an endpoint depend on a flag."""

from __future__ import annotations

from typing import Literal

from rest_framework.exceptions import NotFound
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from flagstaff._request.flags import ContextSource, debug_message, evaluator_of, resolved_context

__all__ = ["HasFlag"]

_NOT_FOUND, _FORBIDDEN = 404, 403


class _HasFlag(BasePermission):  # type: ignore[misc]
    key: str
    status: int
    # In a tuple: a function in a class would become a method.
    context: tuple[ContextSource]

    def has_permission(self, request: Request | None, view: object) -> bool:
        """Whether the request's user has the flag."""
        # drf-yasg and drf-spectacular generate schemas from views without a user.
        if request is None or getattr(view, "swagger_fake_view", False):
            return True
        context = resolved_context(self.context[0], request)
        return evaluator_of(request).flag_enabled(self.key, request.user, context=context)

    def has_object_permission(self, request: Request | None, view: object, obj: object) -> bool:
        """The same for each object. Without it, `~HasFlag(…)` would reject all objects."""
        return self.has_permission(request, view)

    @property
    def message(self) -> str | None:
        """The message of the 403; None for that of the framework.

        The framework reads it only after all permissions have failed, so the 404 is raised here:
        raised earlier, it would break `HasFlag("new_api") | IsAdminUser`.
        """
        text = debug_message(self.key)
        if self.status == _NOT_FOUND:
            raise NotFound(text)
        return text


def HasFlag(  # noqa: N802 (used like the framework's classes)
    key: str, *, status: Literal[404, 403] = 404, context: ContextSource = None
) -> type[BasePermission]:
    """Returns a permission class that allows users who have the flag `key`.

    Other users get a 404, or with `status=403` a 403 (a 401 if they are not logged in). Rules may
    read `context`: a mapping, or a function of the request that returns one.

        class Orders(APIView):
            permission_classes = [IsAuthenticated, HasFlag("new_api")]

    Raises TypeError if `key` is not a string, ValueError if `status` is another number.
    """
    if not isinstance(key, str):
        raise TypeError(f"a flag's key must be a string, not {key!r}")
    if status not in (_NOT_FOUND, _FORBIDDEN):
        raise ValueError(f"the status must be 404 or 403, not {status!r}")
    members = {"key": key, "status": status, "context": (context,), "__module__": __name__}
    return type("HasFlag", (_HasFlag,), members)
