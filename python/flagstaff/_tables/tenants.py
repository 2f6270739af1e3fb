"""Projects with a schema for each tenant, by django-tenants or django-tenant-schemas.

A connection sees the tables of its tenant, then those of the schema that all tenants share. Workers
read flags and values from the shared schema only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from django.apps import apps
from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper


def shared_schema(connection: BaseDatabaseWrapper) -> str | None:
    """Returns the unquoted schema that all tenants share; None without tenants."""
    if not hasattr(connection, "set_schema_to_public"):
        return None
    return _public_schema()


def is_of_tenants(app: str) -> bool:
    """Whether the schemas of tenants have the tables of the app with this label."""
    return any(_has(names, app) for names in _apps())


def _public_schema() -> str:
    return str(getattr(settings, "PUBLIC_SCHEMA_NAME", "public"))


def _apps() -> Iterator[Collection[str]]:
    """Yields the apps of tenants: one list, or one for each type of tenants."""
    if getattr(settings, "HAS_MULTI_TYPE_TENANTS", False):
        for name, of_type in getattr(settings, "TENANT_TYPES", {}).items():
            if name != _public_schema():
                yield of_type.get("APPS", ())
    else:
        yield getattr(settings, "TENANT_APPS", ())


def _has(names: Collection[str], app: str) -> bool:
    config = apps.get_app_config(app)
    by_class = f"{type(config).__module__}.{type(config).__name__}"
    return config.name in names or by_class in names
