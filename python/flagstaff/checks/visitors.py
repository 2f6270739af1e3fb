"""Checks that browsers get a visitor if flags are bucketed by visitor."""

from __future__ import annotations

from django.conf import settings
from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.module_loading import import_string

from flagstaff._tables.bucket_units import BUCKET_BY, VISITOR
from flagstaff._tables.model_fields import bucket_field
from flagstaff._tables.rows import uncached
from flagstaff._text.lists import join_some
from flagstaff.conf import conf
from flagstaff.middleware import FlagstaffMiddleware

__all__ = ["check_visitors_have_middleware"]

_MAX_SHOWN = 3


def check_visitors_have_middleware(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W042: flags count visitors, but no middleware gives browsers their cookie."""
    keys = _keys(connection)
    if not keys or any(map(_is_ours, settings.MIDDLEWARE)):
        return []
    shown = join_some(map(repr, keys), _MAX_SHOWN)
    return [
        Warning(
            f"flags are bucketed by visitor: {shown}; but no browser has a visitor, because "
            "FlagstaffMiddleware is not in MIDDLEWARE",
            hint='add "flagstaff.middleware.FlagstaffMiddleware" after AuthenticationMiddleware; '
            "if all calls pass the visitor in the context, silence this with "
            "SILENCED_SYSTEM_CHECKS",
            obj=conf.flag_model,
            id="flagstaff.W042",
        )
    ]


def _is_ours(path: str) -> bool:
    try:
        middleware = import_string(path)
    except ImportError:  # Django reports it at the first request.
        return False
    return isinstance(middleware, type) and issubclass(middleware, FlagstaffMiddleware)


def _keys(connection: BaseDatabaseWrapper) -> list[str]:
    """Returns the keys of flags that count visitors; none if the table cannot be read."""
    if bucket_field(conf.flag_model) is None:
        return []
    rows = uncached(conf.flag_model._base_manager.using(connection.alias)).order_by("key")
    try:
        with transaction.atomic(using=connection.alias):
            return list(rows.filter(**{BUCKET_BY: VISITOR}).values_list("key", flat=True))
    except Error:  # W013 and W014
        return []
