"""A project with a schema for each tenant. The environment says which apps tenants have."""

import os

from tests.support.settings import DATABASES, FLAGSTAFF, SECRET_KEY, USE_TZ

__all__ = ["DATABASES", "FLAGSTAFF", "SECRET_KEY", "USE_TZ"]

_NAMES = {
    "auth": ["django.contrib.auth", "django.contrib.contenttypes"],
    "flagstaff": ["flagstaff"],
    "notes": ["django.contrib.sites"],
}


def _apps(variable: str) -> list[str]:
    return [name for app in os.environ[variable].split() for name in _NAMES[app]]


SHARED_APPS = ["django_tenants", "tests.faults.tenants.customers", *_apps("SHARED_APPS")]
TENANT_APPS = _apps("TENANT_APPS")
INSTALLED_APPS = list(dict.fromkeys([*SHARED_APPS, *TENANT_APPS]))
TENANT_MODEL = "customers.Customer"
TENANT_DOMAIN_MODEL = "customers.Domain"
PUBLIC_SCHEMA_NAME = os.environ.get("PUBLIC_SCHEMA_NAME", "public")

DATABASES["default"]["ENGINE"] = "django_tenants.postgresql_backend"
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
# The tenants have tables, and no migrations.
MIGRATION_MODULES = {"customers": None}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "tests.faults.tenants.urls"
SILENCED_SYSTEM_CHECKS = os.environ.get("SILENCED", "").split()
