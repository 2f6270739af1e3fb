"""Checks of projects with a schema for each tenant: flags are shared, users should be."""

from __future__ import annotations

from collections.abc import Iterable

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from flagstaff._extensions import optional_apps
from flagstaff._tables.catalog import query_catalog
from flagstaff._tables.model_fields import segment_model
from flagstaff._tables.names import own_names, user_field
from flagstaff._tables.tenants import is_of_tenants, share_hint, shared_schema
from flagstaff._text.lists import join_some
from flagstaff.checks.guard import with_valid_settings
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError

__all__ = ["check_flags_are_shared", "check_tenants_have_no_tables", "check_users_are_shared"]

_SCHEMAS_WITH_TABLES = """
    SELECT DISTINCT pg_catalog.quote_ident(n.nspname)
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE c.relname::text OPERATOR(pg_catalog.=) ANY (%s)
        AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p}'::"char"[])
        AND n.nspname::text OPERATOR(pg_catalog.<>) %s
    ORDER BY 1
"""


@with_valid_settings
def check_flags_are_shared(**kwargs: object) -> list[CheckMessage]:
    """flagstaff.E029: tenants have tables of flags, which workers do not read."""
    schema = shared_schema(connections[conf.database])
    if schema is None:
        return []
    return [
        Error(
            f'"{app}" is an app of tenants, but workers read flags and values from schema '
            f'"{schema}" only, so changes in the schema of a tenant have no effect',
            hint=share_hint(app),
            id="flagstaff.E029",
        )
        for app in [*_labels([conf.flag_model, conf.value_model]), *_optional_labels()]
        if is_of_tenants(app)
    ]


@with_valid_settings
def check_users_are_shared(**kwargs: object) -> list[CheckMessage]:
    """flagstaff.W030: users of two tenants may have the same primary key."""
    schema = shared_schema(connections[conf.database])
    if schema is None:
        return []
    try:
        users = user_field(conf.flag_model).model
    except ConfigurationError:  # E005 and E006 report it
        return []
    if not is_of_tenants(users._meta.app_label):
        return []
    return [
        Warning(
            f"{users._meta.label} has a table in each tenant, and flags cannot distinguish two "
            "users with the same primary key; allowed users are always users of schema "
            f'"{schema}"',
            hint='evaluate for f"{connection.schema_name}:{user.pk}", use no allowed users, and '
            "silence this with SILENCED_SYSTEM_CHECKS; or put the app into SHARED_APPS only",
            id="flagstaff.W030",
        )
    ]


def check_tenants_have_no_tables(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W031: schemas of tenants have tables of flags, which hide the shared ones."""
    shared = shared_schema(connection)
    if shared is None or any(map(is_of_tenants, _labels([conf.flag_model, conf.value_model]))):
        return []
    models = (conf.flag_model, conf.value_model, segment_model())
    tables = [model._meta.db_table for model in models]
    tables += [table.strip('"') for table in own_names(connection).values()]
    schemas = [name for [name] in query_catalog(connection, _SCHEMAS_WITH_TABLES, tables, shared)]
    if not schemas:
        return []
    return [
        Warning(
            f"schemas of tenants have tables of flags: {join_some(schemas)}; they hide the tables "
            f'of schema "{shared}" from Django, so changes in these schemas have no effect',
            hint="put flagstaff back into the apps of tenants, run "
            '"manage.py migrate_schemas --tenant --skip-checks flagstaff zero", and remove '
            "flagstaff again; or drop the tables with SQL",
            id="flagstaff.W031",
        )
    ]


def _labels(models: Iterable[type[Model]]) -> list[str]:
    """The label of flagstaff, whose tables the triggers write, and those of the models."""
    return list(dict.fromkeys(["flagstaff", *(model._meta.app_label for model in models)]))


def _optional_labels() -> list[str]:
    """The labels of the optional apps whose tables workers read or write."""
    return [app.label for app in optional_apps() if app.table_names()]
