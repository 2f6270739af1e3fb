"""The visitor of a request: the id in its cookie, or a new one that the response sets."""

from __future__ import annotations

import math
import secrets
import sys
import time
from dataclasses import dataclass
from functools import cache
from threading import get_ident
from typing import Any

from django.conf import settings
from django.core.signing import BadSignature, Signer, TimestampSigner, b62_decode, b62_encode
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_cache_control, patch_vary_headers

from flagstaff._log import log_once
from flagstaff._request.functions import RequestFunctionError, result_of
from flagstaff.conf import conf

_ID = "id"


class RequestVisitor:
    """The visitor of one request. Costs nothing until an evaluation reads it."""

    __slots__ = ("_asked_by", "_consent", "_cookie", "_new", "_reads_cookie")

    def __init__(self) -> None:
        # The new id, or None if none can be set any more; the first of two threads decides. No
        # dict: the middleware has not begun.
        self._new: dict[str, str | None] | None = None
        # Whether the response depends on the cookies of the browser.
        self._reads_cookie = False
        self._consent: bool | None = None
        # The thread that calls the function of VISITOR_COOKIE.
        self._asked_by: int | None = None
        self._cookie: SignedId | None = None

    def begin(self) -> None:
        """Allows new ids, because the middleware will set their cookie."""
        # The middleware may be installed twice, and an id be drawn in between.
        if self._new is None or None in self._new.values():
            self._new = {}

    def id_for(self, request: Any, *, draw: bool) -> str | None:
        """Returns the id of the cookie, or with `draw` a new one; None without consent."""
        if not self._reads_cookie:
            self._read_cookie(request)
        if self._cookie is not None:
            return self._cookie.id
        if not draw or not self._consent or _hides_cookie(request):
            return None
        if self._new is None:
            log_once(
                "visitor",
                "middleware",
                "a request has no visitor, because FlagstaffMiddleware has not run: add "
                '"flagstaff.middleware.FlagstaffMiddleware" to MIDDLEWARE, before any middleware '
                "that evaluates flags",
            )
            return None
        visitor_id = self._new.setdefault(_ID, draw_id())
        if visitor_id is None:
            log_once(
                "visitor",
                "late",
                "a request has no visitor, because the flag was evaluated too late to set a "
                "cookie: evaluate it before the view returns, not in the body of a streaming "
                "response",
            )
        return visitor_id

    @property
    def has_returned(self) -> bool:
        """Whether the id is that of the cookie, and not a new one."""
        return self._cookie is not None

    @property
    def drawn_at(self) -> int | None:
        """When the id of this request was drawn, in seconds since 1970; None if none was read."""
        if self._cookie is not None:
            return self._cookie.drawn_at
        is_new = self._new is not None and self._new.get(_ID) is not None
        return int(time.time()) if is_new else None

    def _read_cookie(self, request: Any) -> None:
        text = request.COOKIES.get(conf.visitor_cookie_name)
        self._consent = self._ask_for_consent(request)
        # Without cookies, pages are the same for all browsers, and caches may store them.
        if conf.visitor_cookie is False and text is None:
            return
        keep_out_of_cache(request)
        if text is not None and self._consent:
            self._cookie = read_id(text, int(conf.visitor_cookie_age))
        # Last: another thread may use the visitor of the same request.
        self._reads_cookie = True

    def _ask_for_consent(self, request: object) -> bool | None:
        """Whether the browser may have the cookie; None if the project's function fails."""
        setting = conf.visitor_cookie
        if isinstance(setting, bool):
            return setting
        if self._asked_by == get_ident():
            problem = "evaluates a flag that is bucketed by visitor, which it must not do"
        else:
            self._asked_by = get_ident()
            try:
                # A text such as "no" would be true.
                return bool(result_of(setting, request, (bool,), "True or False"))
            except RequestFunctionError as error:
                problem = str(error)
            finally:
                self._asked_by = None
        message = f"{setting} in VISITOR_COOKIE {problem}; the request has no visitor"
        log_once("consent", problem, message)
        return None

    def finish(self, request: HttpRequest, response: HttpResponseBase) -> None:
        """Sets or deletes the cookie of the browser, and tells caches what the response is.

        Ids that are drawn later could not be set, so there are none.
        """
        new = self._new.setdefault(_ID, None) if self._new is not None else None
        if not self._reads_cookie:
            return
        patch_vary_headers(response, ["Cookie"])
        # Many shared caches ignore Vary.
        patch_cache_control(response, private=True)
        name, cookie = conf.visitor_cookie_name, self._cookie
        if name in response.cookies:
            # The view has deleted it, for example because consent was withdrawn.
            return
        if new is not None:
            _set(request, response, new, time.time())
        elif cookie is not None and not cookie.is_current:
            # Signed with the current key. It does not live longer for that.
            _set(request, response, cookie.id, cookie.drawn_at)
        elif name in request.COOKIES and self._consent is False:
            # A function that fails has not refused.
            response.delete_cookie(name, domain=conf.visitor_cookie_domain, samesite="Lax")


def visitor_of_request(request: Any) -> RequestVisitor:
    """Returns the visitor of a request, which is kept on it."""
    visitor = getattr(request, "_flagstaff_visitor", None)
    if not isinstance(visitor, RequestVisitor):
        visitor = request._flagstaff_visitor = RequestVisitor()  # noqa: SLF001 (ours)
    return visitor


def _hides_cookie(request: HttpRequest) -> bool:
    """Whether the browser withholds its cookie, which a new id would replace or count twice.

    With SameSite=Lax, it does so for all requests from another site except links.
    """
    is_page = request.headers.get("Sec-Fetch-Dest") == "document"
    is_link = is_page and request.method in ("GET", "HEAD")
    return request.headers.get("Sec-Fetch-Site") == "cross-site" and not is_link


def _set(
    request: HttpRequest, response: HttpResponseBase, visitor_id: str, drawn_at: float
) -> None:
    response.set_cookie(
        conf.visitor_cookie_name,
        sign_id(visitor_id, drawn_at),
        max_age=math.ceil(drawn_at + conf.visitor_cookie_age - time.time()),
        domain=conf.visitor_cookie_domain,
        secure=request.is_secure() or settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def keep_out_of_cache(request: object, *, is_served: bool = True) -> None:
    """Makes Django's cache middleware and `@cache_page` not store the response of a request.

    Without `is_served`, they do not serve a stored page either: for the cache, the address of the
    request has a fragment, which no stored page has.

    They decide by an attribute of the request. `@cache_page` sets it when its view is called, which
    can be after a middleware has evaluated a flag, and stores the response before any middleware
    sees it. So the request gets a class whose attribute is always False.
    """
    # Any, because the stubs deny that a class is hashable.
    original: Any = type(request)
    is_kept_out = isinstance(getattr(original, _ATTRIBUTE, None), property)
    if isinstance(request, HttpRequest) and not is_kept_out:
        request.__class__ = _uncached(original, is_served)


def _reduced(request: HttpRequest, _protocol: int) -> tuple[Any, ...]:
    """Returns how to pickle or copy a request: with its original class."""
    return object.__new__, type(request).__bases__, request.__getstate__()


_ATTRIBUTE = "_cache_update_cache"
_MEMBERS = {_ATTRIBUTE: property(lambda _: False, lambda _, __: None), "__reduce_ex__": _reduced}


@cache
def _uncached(original: Any, is_served: bool) -> Any:  # noqa: FBT001 (by `cache`)
    def build_absolute_uri(request: Any, location: str | None = None) -> str:
        address: str = original.build_absolute_uri(request, location)
        is_for_cache = sys._getframe(1).f_globals["__name__"] == "django.utils.cache"  # noqa: SLF001
        return f"{address}#" if is_for_cache else address

    members = {} if is_served else {"build_absolute_uri": build_absolute_uri}
    return type(original.__name__, (original,), {**_MEMBERS, **members})


_SALT = "flagstaff.visitor"
_RANDOM_BYTES = 16


@dataclass(frozen=True)
class SignedId:
    """What a cookie holds."""

    id: str
    #: When the id was drawn, in seconds since 1970.
    drawn_at: int
    #: Whether it is signed with SECRET_KEY, and not with one of SECRET_KEY_FALLBACKS.
    is_current: bool


def draw_id() -> str:
    """Returns a new random id."""
    return secrets.token_urlsafe(_RANDOM_BYTES)


def sign_id(visitor_id: str, drawn_at: float | None = None) -> str:
    """Returns the text of a cookie. `drawn_at` is now by default."""
    drawn_at = time.time() if drawn_at is None else drawn_at
    # The form of TimestampSigner, which cannot sign a time in the past.
    return Signer(salt=_SALT).sign(f"{visitor_id}:{b62_encode(int(drawn_at))}")


def read_id(text: str, max_age: int) -> SignedId | None:
    """Returns the id of a cookie; None if it is not signed or older than `max_age` seconds."""
    if not text.isascii():
        return None
    signer = TimestampSigner(salt=_SALT)
    try:
        visitor_id = signer.unsign(text, max_age=max_age)
    except BadSignature:
        return None
    signed, _, signature = text.rpartition(":")
    drawn_at = b62_decode(signed.rpartition(":")[2])
    return SignedId(visitor_id, drawn_at, is_current=signature == signer.signature(signed))
