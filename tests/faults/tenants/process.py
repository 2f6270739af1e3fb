"""What the tests do in a process of the project. Prints the results as JSON."""

import json
import sys
from typing import Any

import django


def shared() -> dict[str, Any]:
    """Flags that all tenants share, changed and evaluated in the schemas of tenants."""
    from django.contrib.auth.models import User
    from django.db import connection
    from django_tenants.utils import schema_context

    from flagstaff import changes, explain, flag_enabled, refresh, status, wait_for_workers
    from tests.support.history import flag_history

    seen: dict[str, Any] = {}
    anna = User.objects.create(username="anna")
    with schema_context("acme"):
        changes.flags.create("beta", enabled=True, rollout_percent=50)
        changes.flags.allow("beta", [anna.pk])
        refresh()
        seen["mode"] = status().mode
        seen["complete"] = wait_for_workers(5).complete
    for schema in ("acme", "globex"):
        with schema_context(schema):
            seen[schema] = [
                flag_enabled("beta", f"{connection.schema_name}:{pk}") for pk in range(20)
            ]
    with schema_context("globex"):
        changes.flags.set_rollout("beta", 60)
        changes.flags.undo("beta")
    seen["history"] = [event.action for event in flag_history("beta")]
    seen["reason"] = str(explain("beta", "acme:1").reason)
    return seen


def beside() -> list[Any]:
    """A flag in the schema of a tenant, and the results of a worker and of direct evaluations."""
    from django_tenants.utils import schema_context

    from flagstaff import explain, read_own_writes, ready
    from flagstaff.models import FeatureFlag

    ready()
    with schema_context("acme"):
        FeatureFlag.objects.create(key="beta", enabled=True, rollout_percent=100)
        in_memory = explain("beta", 7).error_code
        with read_own_writes():
            return [in_memory, explain("beta", 7).error_code]


def create_tenants() -> None:
    from django.apps import apps

    for name in ("acme", "globex"):
        apps.get_model("customers.Customer")(schema_name=name, name=name).save(verbosity=0)


if __name__ == "__main__":
    django.setup()
    print(json.dumps(globals()[sys.argv[1]]()))
