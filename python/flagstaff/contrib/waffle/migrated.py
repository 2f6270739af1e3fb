"""Imports the rows of waffle that a migration has created: migrations send no signals of rows."""

from __future__ import annotations

import logging
from typing import Any

from django.apps import AppConfig, apps
from django.db import connections, router, transaction

from flagstaff.conf import conf
from flagstaff.contrib.waffle.names import key_of
from flagstaff.contrib.waffle.rows import waffle_model
from flagstaff.contrib.waffle.settings import WAFFLE_KINDS, WaffleKind
from flagstaff.contrib.waffle.writing import is_written, write_created
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.kinds import Kind
from flagstaff.history.log import entries_of_key, has_history

_LOG = logging.getLogger("flagstaff")

# The names of the rows before a migration, by kind, and by the alias that it migrates.
_before: dict[str, dict[WaffleKind, set[str]]] = {}


def before_migration(using: str, **_: Any) -> None:
    """Remembers the rows that exist; a receiver of `pre_migrate`, which Django sends per app."""
    if using not in _before:
        _before[using] = {kind: _names(kind, using) for kind in WAFFLE_KINDS}


def after_migration(app_config: AppConfig, using: str, **_: Any) -> None:
    """Imports the new rows whose key our history has never had; a receiver of `post_migrate`."""
    # Django sends it to each app with models; here only the last one counts.
    with_models = [one for one in apps.get_app_configs() if one.models_module is not None]
    if app_config is not with_models[-1] or using not in _before:
        return
    before, tables = _before.pop(using), _tables(conf.database)
    if conf.flag_model._meta.db_table not in tables:
        return
    for kind in WAFFLE_KINDS:
        if not is_written(waffle_model(kind), kind):
            continue
        for name in sorted(_names(kind, using) - before[kind]):
            _import(kind, name, using)


def _import(kind: WaffleKind, name: str, using: str) -> None:
    if has_history() and entries_of_key(Kind.FLAG, key_of(kind, name)).exists():
        return
    try:
        with transaction.atomic(using=conf.database):
            write_created(kind, name, using)
    except FlagstaffError as error:
        _LOG.warning("no flag for waffle's %s %r: %s", kind, name, error.message)


def _names(kind: WaffleKind, using: str) -> set[str]:
    """Returns the names of the rows; none in a database that has no such table."""
    model = waffle_model(kind)
    if not router.allow_migrate_model(using, model) or model._meta.db_table not in _tables(using):
        return set()
    return {*model._base_manager.using(using).values_list("name", flat=True)}


def _tables(using: str) -> list[str]:
    return connections[using].introspection.table_names()
