"""Serves the admin with a theme, in the environment of the themes: `python -m … PORT`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import django
from django.http import HttpRequest, HttpResponseBase

__all__ = ["as_superuser"]


def as_superuser(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """A middleware that logs everybody in."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        from django.contrib.auth.models import User

        request.user = User.objects.get(username="admin")
        return get_response(request)

    return middleware


def main() -> None:
    """Creates the tables and rows, and serves until the process is stopped."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.themes.settings"
    django.setup()
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.management import call_command
    from django.core.servers.basehttp import run
    from django.core.wsgi import get_wsgi_application

    call_command("migrate", verbosity=0)
    create_rows()
    workers = [connect_worker(pid) for pid in (7, 8)]
    run("127.0.0.1", int(sys.argv[1]), StaticFilesHandler(get_wsgi_application()), threading=True)
    for worker in workers:
        worker.close()


def connect_worker(pid: int) -> Any:
    """Returns a session with the name of a worker that is behind, of an older version."""
    import psycopg
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT 'flagstaff_token'::regclass::oid")
        [table] = cursor.fetchone()
    name = f"fs2 {table} 1 00000000 L {pid} web-1.example.com"
    return psycopg.connect(**connection.get_connection_params() | {"application_name": name})


def create_rows() -> None:
    """Creates flags in every state, a value, a segment, and a transaction of two changes."""
    from django.contrib.auth.models import User
    from django.db import connection, transaction

    from flagstaff import acting_as, changes
    from flagstaff.models import FeatureFlag

    admin = User.objects.create_superuser("admin")
    users = [User.objects.create(username=name) for name in ("alice", "bob", "charlotte")]
    changes.create("new_checkout", rollout_percent=25, description="The checkout on one page.")
    changes.enable("new_checkout")
    changes.add_allowed_users("new_checkout", users)
    changes.create("summer_banner", rollout_percent=60, description="SubmittedState in July.")
    changes.create("express_delivery", rollout_percent=100, enabled=True)
    changes.create("search_v2", enabled=True)
    changes.create_value("payment_gateway", "stripe")
    country = {"attribute": "country", "operator": "in", "values": ["DE", "AT", "CH"]}
    changes.create_segment("dach", [country], description="Where we deliver.")
    rules = [{"name": "beta", "conditions": [{"segment": "dach"}], "rollout_percent": 25}]
    changes.update("new_checkout", {"rules": rules})
    changes.update("search_v2", {"rules": [{"conditions": [country]}]})
    # As SQL may write it.
    FeatureFlag.objects.filter(key="express_delivery").update(rules={"x": 1})
    with transaction.atomic(), acting_as(admin, reason="release 42"):
        changes.set_rollout("new_checkout", 50)
        changes.set_value("payment_gateway", {"name": "paypal", "retries": 3})
    changes.create("old_banner")
    changes.delete("old_banner")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO flagstaff_usage SELECT date_trunc('hour', now()), key, false, 0, 1234, "
            "now() FROM unnest(ARRAY['new_chekout', 'old_banner', 'cart:badge']) AS key"
        )


if __name__ == "__main__":
    main()
