"""What a person previews of flags in one browser, for an hour: the cookie, its check, the buttons.

The cookie is for one user, session and host. A preview ends with the next write of its flag's row,
so a kill ends it; also one of a flag that is off, which writes the row again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from functools import partial
from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.admin.sites import all_sites
from django.core.signing import BadSignature, dumps, loads
from django.db.models import Func, QuerySet, TextField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import URLPattern
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.http import url_has_allowed_host_and_scheme

from flagstaff import _core
from flagstaff._attribution import current_actor
from flagstaff._core import is_storable
from flagstaff._log import log_once, logger, place_of
from flagstaff._request.flags import (
    PREVIEW_COOKIES,
    Preview,
    PreviewedFlag,
    RequestFlags,
    flags_of,
)
from flagstaff._request.visitor import keep_out_of_cache
from flagstaff._tables.database import db
from flagstaff._tables.rows import all_rows, is_stored
from flagstaff._text import say
from flagstaff.admin.links import list_path, page_path, page_url
from flagstaff.admin.parts import Level, Note, Section
from flagstaff.admin.rights import denied, may_preview
from flagstaff.conf import conf

_SALT = "flagstaff.preview"
_SECONDS = 3_600
_MAX_FLAGS = 10
_VERSION = "flagstaff_row_version"


def checked_preview(request: HttpRequest) -> tuple[str, dict[str, bool], _core.LoadedFlags] | None:
    """Returns what the user of a request previews, for its Observation; None if that is nothing.

    Queries the user and the flags, unless the signature is wrong. An error is a no.
    """
    try:
        return _checked(request)
    except Exception as error:
        if isinstance(error, RecursionError | MemoryError):
            raise
        problem = place_of(error)
        log_once("preview", problem, f"a preview has no effect, because its check raised {problem}")
        return None


def _checked(request: HttpRequest) -> tuple[str, dict[str, bool], _core.LoadedFlags] | None:
    signed = _signed_flags(request)
    if not signed:
        return None
    # Also without an effect: methods of a project may read the visitor for the copy below.
    keep_out_of_cache(request, is_served=False)
    # A 304 would show what the browser has stored before.
    for name in ("HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE"):
        request.META.pop(name, None)
    vars(request).pop("headers", None)
    # Before the query: a kill between the two loads a flag.
    _core.start()
    before = _core.LoadedFlags()
    # What methods of a project keep on a request stays out of this one, which is not complete yet.
    asking: Any = copy(request)
    # A snapshot of before the preview does not have it.
    asking.flags = RequestFlags(asking)
    sites = [
        site
        for site in all_sites
        if site.is_registered(conf.flag_model) and site.has_permission(asking)
    ]
    flags = {
        row.key: signed[row.key]
        for row in _rows(signed)
        if getattr(row, _VERSION) == signed[row.key].version
        and any(may_preview(site, asking, row) for site in sites)
    }
    if not flags:
        return None
    url = next(filter(None, (page_path(site, "preview") for site in sites)), "")
    flags_of(request).preview = Preview(flags, url)
    user: Any = request.user
    return str(user.pk), {key: flag.is_on for key, flag in flags.items()}, before


def _rows(keys: Iterable[str]) -> QuerySet[Any]:
    """Returns the flags with these keys and what identifies the present version of their rows.

    That of the history would not do: a change need not have an entry.
    """
    table = db.table(conf.flag_model._meta.get_field("enabled").model)
    version: Any = Func(
        template=f"{table}.xmin::text || {table}.ctid::text", output_field=TextField()
    )
    rows = all_rows(conf.flag_model).filter(key__in=keys)
    with_version: QuerySet[Any] = rows.annotate(**{_VERSION: version})
    return with_version


# The cookie.


def _signed_flags(request: HttpRequest) -> dict[str, PreviewedFlag]:
    """Returns the flags of the cookie, if it is for this user, session and host."""
    text = request.COOKIES.get(PREVIEW_COOKIES[request.is_secure()], "")
    try:
        # Not with an old key: a new one ends all previews.
        owner, signed = loads(text, salt=_SALT, max_age=_SECONDS, fallback_keys=[])
    except BadSignature:
        return {}
    if not constant_time_compare(owner, _owner(request)):
        return {}
    flags = {key: PreviewedFlag(*fields) for key, fields in signed.items()}
    return {key: flag for key, flag in flags.items() if flag.until > time.time()}


def _owner(request: HttpRequest) -> str:
    """Returns a hash of the user, the session and the host; "" if nobody is logged in.

    A log-out and a new password change it.
    """
    user: Any = getattr(request, "user", None)
    session_key = getattr(getattr(request, "session", None), "session_key", None)
    if user is None or not user.is_authenticated or not session_key:
        return ""
    password = user.get_session_auth_hash() if hasattr(user, "get_session_auth_hash") else ""
    parts = (str(user.pk), session_key, password, request.get_host())
    return salted_hmac(_SALT, "\0".join(parts), algorithm="sha256").hexdigest()


def _set_cookie(
    request: HttpRequest, response: HttpResponse, flags: Mapping[str, PreviewedFlag]
) -> None:
    name = PREVIEW_COOKIES[request.is_secure()]
    if not flags:
        response.delete_cookie(name, samesite="Lax")
        return
    signed = {key: (flag.is_on, flag.version, flag.until) for key, flag in flags.items()}
    response.set_cookie(
        name,
        dumps((_owner(request), signed), salt=_SALT, compress=True),
        max_age=_SECONDS,
        secure=request.is_secure(),
        httponly=True,
        samesite="Lax",
    )


# The buttons.


def preview_menu(site: AdminSite, request: HttpRequest, row: Any) -> Section:
    """Returns the buttons on the page of a flag; without HTML where a preview has no effect."""
    title = say("Preview").local
    if not _is_possible(site, request, row):
        return Section(title, "")
    shown = {
        "key": row.key,
        "url": page_path(site, "preview"),
        "back": request.get_full_path(),
        "previewed": bool(flags_of(request).preview),
    }
    return Section(title, render_to_string("flagstaff/preview.html", shown, request))


def preview_notes(request: HttpRequest) -> Iterator[Note]:
    """Yields what this browser previews, for the page of a flag."""
    if preview := flags_of(request).preview:
        title = say("Preview in this browser").local
        yield Note(f"{title}: {', '.join(preview.texts())}", Level.NOTICE)


def can_be_previewed(request: HttpRequest) -> bool:
    """Whether this process would read the cookie of a preview."""
    # Without the middleware nothing reads it; other databases have no version of a row.
    return isinstance(getattr(request, "flags", None), RequestFlags) and db.is_postgresql


def _is_possible(site: AdminSite, request: HttpRequest, row: Any) -> bool:
    """Whether the user may preview a flag, and this process would read the cookie."""
    return (
        can_be_previewed(request)
        and is_stored(row)
        and _owner(request) != ""
        and may_preview(site, request, row)
    )


def preview_path(admin: Any) -> URLPattern:
    """Returns the URL pattern of the buttons."""
    return list_path(admin, "preview", partial(_answer, admin))


def _answer(admin: Any, request: HttpRequest) -> HttpResponse:
    """Sets the preview of a flag, or ends all. Writes nothing but the cookie."""
    site, back = admin.admin_site, request.POST.get("back", "")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts=None):
        back = page_url(site, admin.model, "changelist")
    response = HttpResponseRedirect(back)
    if "end" in request.POST:
        logger.warning("user %s ends the preview", current_actor())
        admin.message_user(request, say("The preview has ended.").local)
        _set_cookie(request, response, {})
    elif request.method == "POST":
        key, is_on = request.POST.get("key", ""), request.POST.get("result") == "on"
        flags = _with_flag(site, request, key, is_on=is_on)
        if len(flags) > _MAX_FLAGS:
            text = say("Preview at most {count} flags: end the preview first.", count=_MAX_FLAGS)
            admin.message_user(request, text.local, messages.ERROR)
        else:
            state = "on" if is_on else "off"
            logger.warning("user %s previews %s as %s for an hour", current_actor(), key, state)
            _set_cookie(request, response, flags)
    return response


def _with_flag(
    site: AdminSite, request: HttpRequest, key: str, *, is_on: bool
) -> dict[str, PreviewedFlag]:
    """Returns what the user previews, with one more flag. Raises PermissionDenied."""
    row = _rows([key]).first() if db.is_postgresql and is_storable(key) else None
    if row is None or not _is_possible(site, request, row):
        raise denied(request, "toggle", row or conf.flag_model, writes=False)
    flag = PreviewedFlag(is_on, getattr(row, _VERSION), int(time.time()) + _SECONDS)
    present = flags_of(request).preview
    return {**(present.flags if present else {}), key: flag}
