"""Types for the annotations of your own code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpRequest

from flagstaff._types import Context, HasPrimaryKey, UserLike

if TYPE_CHECKING:
    from flagstaff._request.flags import RequestFlags

__all__ = ["Context", "FlagstaffRequest", "HasPrimaryKey", "UserLike"]


class FlagstaffRequest(HttpRequest):
    """A request with the attribute `flags`, which FlagstaffMiddleware sets.

    Only for annotations: the middleware changes no class.

        def checkout(request: FlagstaffRequest) -> HttpResponse:
            if request.flags.enabled("new_checkout"): ...
    """

    flags: RequestFlags
