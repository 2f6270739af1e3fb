"""Whether a browser may have the visitor's cookie, as the setting VISITOR_COOKIE decides."""

from __future__ import annotations

from contextvars import ContextVar

from flagstaff._engine.log_once import log_once
from flagstaff._engine.request_functions import RequestFunctionError, result_of
from flagstaff.conf import conf

__all__ = ["consent_of"]

_is_asking: ContextVar[bool] = ContextVar("flagstaff_is_asking_for_consent", default=False)


def consent_of(request: object) -> bool | None:
    """Whether the browser may have the cookie; None if the project's function fails."""
    setting = conf.visitor_cookie
    if isinstance(setting, bool):
        return setting
    # The function evaluates a flag that needs the visitor, which needs the function.
    if _is_asking.get():
        _log(setting, "evaluates a flag that is bucketed by visitor, which it must not do")
        return None
    token = _is_asking.set(True)
    try:
        # A text such as "no" would be true.
        return bool(result_of(setting, request, (bool,), "True or False"))
    except RequestFunctionError as problem:
        _log(setting, str(problem))
        return None
    finally:
        _is_asking.reset(token)


def _log(path: str, problem: str) -> None:
    message = f"{path} in VISITOR_COOKIE {problem}; the request has no visitor"
    log_once("consent", problem, message)
