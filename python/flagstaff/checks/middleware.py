"""Checks that the middleware is installed where settings need it, and after Django's."""

from __future__ import annotations

from collections.abc import Iterator

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.utils.module_loading import import_string

from flagstaff._words.text import some
from flagstaff.conf import all_settings, conf
from flagstaff.extensions import OBSERVERS

_OURS = "flagstaff.middleware.FlagstaffMiddleware"
_DJANGOS = "django.contrib.auth.middleware.AuthenticationMiddleware"


def has_middleware() -> bool:
    """Whether MIDDLEWARE has FlagstaffMiddleware, or a subclass."""
    return _position(_OURS) is not None


def missing_middleware() -> Iterator[CheckMessage]:
    """Yields why requests have no flags, or no user. Imports the middleware."""
    position, of_user = _position(_OURS), _position(_DJANGOS)
    silence = "or silence this with SILENCED_SYSTEM_CHECKS"
    if position is None:
        if users := some(_what_needs_it()):
            yield Warning(
                f"FlagstaffMiddleware is not in MIDDLEWARE, but needed by {users}",
                hint=f'add "{_OURS}" after AuthenticationMiddleware, {silence} if no request '
                "evaluates a flag",
                id="flagstaff.W007",
            )
    elif of_user is not None and position < of_user:
        yield Warning(
            "FlagstaffMiddleware is before AuthenticationMiddleware in MIDDLEWARE, so what runs "
            "between them evaluates request.flags for an anonymous user",
            hint=f'move "{_OURS}" behind AuthenticationMiddleware, {silence} if nothing between '
            "them evaluates a flag",
            id="flagstaff.W008",
        )


def _what_needs_it() -> Iterator[str]:
    """Yields the apps and the settings that only the middleware serves."""
    for app in apps.get_app_configs():
        if OBSERVERS.name in getattr(app, "flagstaff_hooks", {}):
            yield f"the app {app.name}"
    if conf.attributes.callable is not None:
        yield f'the function {conf.attributes.callable} in FLAGSTAFF["ATTRIBUTES"]'
    for name in ("VISITOR_COOKIE", "IS_CRAWLER"):
        setting = all_settings().get(name)
        if setting is not None and isinstance(path := setting.current(), str):
            yield f'the function {path} in FLAGSTAFF["{name}"]'


def _position(path: str) -> int | None:
    """Returns the index in MIDDLEWARE of a class or a subclass of it; None if it is not there."""
    for index, name in enumerate(settings.MIDDLEWARE):
        try:
            middleware = import_string(name)
        except ImportError:  # Django reports it at the first request.
            continue
        classes = getattr(middleware, "__mro__", ())
        if any(path == f"{base.__module__}.{base.__qualname__}" for base in classes):
            return index
    return None
