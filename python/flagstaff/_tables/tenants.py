"""Projects with a schema for each tenant, by django-tenants or django-tenant-schemas.

A connection sees the tables of its tenant, then those of the schema that all tenants share. Workers
read flags and values from the shared schema only.
"""

from __future__ import annotations

from django.apps import apps
from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper


def shared_schema(connection: BaseDatabaseWrapper) -> str | None:
    """Returns the unquoted schema that all tenants share; None without tenants."""
    return _shared_schema() if hasattr(connection, "set_schema_to_public") else None


def is_of_tenants(app: str) -> bool:
    """Whether the schemas of tenants have the tables of the app with this label."""
    names = {*getattr(settings, "TENANT_APPS", ())}
    # In place of TENANT_APPS: the apps of each type of tenants, and of the shared schema.
    for tenant_type, options in getattr(settings, "TENANT_TYPES", {}).items():
        if tenant_type != _shared_schema():
            names.update(options.get("APPS", ()))
    config = apps.get_app_config(app)
    return not names.isdisjoint({config.name, f"{type(config).__module__}.{type(config).__name__}"})


def _shared_schema() -> str:
    return str(getattr(settings, "PUBLIC_SCHEMA_NAME", "public"))
