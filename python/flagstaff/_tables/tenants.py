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


def tenant_schema(connection: BaseDatabaseWrapper) -> str | None:
    """Returns the unquoted schema of the connection's tenant; None in the shared schema."""
    shared, current = shared_schema(connection), getattr(connection, "schema_name", None)
    return None if shared is None or current in {None, shared} else str(current)


def is_shared(app: str) -> bool:
    """Whether the shared schema has the tables of the app with this label."""
    return any(_has(names, app) for is_public, names in _apps() if is_public)


def is_of_tenants(app: str) -> bool:
    """Whether the schemas of tenants have the tables of the app with this label."""
    return any(_has(names, app) for is_public, names in _apps() if not is_public)


def share_hint(app: str) -> str:
    """Returns which settings to change, so that all tenants share the app with this label."""
    name = apps.get_app_config(app).name
    if _has_types():
        types = f'the APPS of "{_public_schema()}" in TENANT_TYPES'
        return f'put "{name}" into {types}, and of no other type'
    return f'put "{name}" into SHARED_APPS, and not into TENANT_APPS'


def _public_schema() -> str:
    return str(getattr(settings, "PUBLIC_SCHEMA_NAME", "public"))


def _has_types() -> bool:
    """Whether each type of tenants has apps of its own."""
    return bool(getattr(settings, "HAS_MULTI_TYPE_TENANTS", False))


def _apps() -> Iterator[tuple[bool, Collection[str]]]:
    """Yields the apps of the shared schema with True, and those of tenants with False."""
    if _has_types():
        for name, of_type in getattr(settings, "TENANT_TYPES", {}).items():
            yield name == _public_schema(), of_type.get("APPS", ())
    else:
        yield True, getattr(settings, "SHARED_APPS", ())
        yield False, getattr(settings, "TENANT_APPS", ())


def _has(names: Collection[str], app: str) -> bool:
    config = apps.get_app_config(app)
    by_class = f"{type(config).__module__}.{type(config).__name__}"
    return config.name in names or by_class in names
