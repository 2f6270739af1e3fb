"""A router that reads from a replica: the admin and the commands read from the primary.

Another database with older rows takes the place of a replica that lags.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from html import unescape
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils.html import strip_tags

from flagstaff import changes
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, VALUES, column, confirmed, page
from tests.support.fixtures import _create
from tests.support.screen import Screen
from tests.support.workers import Worker
from tools.postgres import Postgres

# On the primary, the flag and the value have changed, and there is a new flag.
BEHIND = """
    INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent)
        VALUES ('new_checkout', false, 10);
    INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('gateway', '"paypal"');
"""


@pytest.fixture
def primary(
    database: str, server: Postgres, migrated: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Worker]:
    """A process of a project whose replica lags behind `database`."""
    replica = _create(server, migrated)
    with psycopg.connect(replica, autocommit=True) as session:
        session.execute(BEHIND.encode())
    monkeypatch.setenv("REPLICA_URL", replica)
    with Worker(database, project="tests.support.settings_replica") as worker:
        worker.ask("call", f"{__name__}.create_users")
        yield worker


def see(worker: Worker, name: str, *arguments: Any) -> Any:
    """Returns the result of a function below, called in the worker."""
    return worker.ask("call", f"{__name__}.{name}", *arguments)


# These functions run in the worker.


def create_users() -> None:
    for alias in ("default", "replica"):
        for pk, name in enumerate(("boss", "anna.smith"), 1):
            User.objects.db_manager(alias).create_superuser(name, pk=pk)
    flag = FeatureFlag.objects.using("default").get(key="new_checkout")
    changes.flags.allow(flag.key, [2])
    changes.flags.create("brand_new", rollout_percent=7)


def client() -> Client:
    found = Client()
    found.force_login(User.objects.get(username="boss"))
    return found


def url(key: str, view: str = "change") -> str:
    pk = FeatureFlag.objects.using("default").get(key=key).pk
    return f"{FLAGS}{pk}/{view}/"


def flag_list() -> dict[str, Any]:
    html = page(client())
    return {name: column(html, name) for name in ("flag", "state")}


def value_list() -> list[str]:
    return [unescape(text) for text in column(page(client(), VALUES), "shown_value")]


def change_page(key: str) -> list[Any]:
    response = client().get(url(key))
    shown = Screen(response)
    rollouts = [text.split()[0] for text in shown.texts("dd") if "%" in text]
    return [response.status_code, rollouts, "anna.smith" in shown.text]


def history_page(key: str) -> list[Any]:
    response = client().get(url(key, "history"), follow=True)
    return [response.status_code, "7" in strip_tags(response.content.decode())]


def toggle(view: str) -> str:
    """The text of the page that kills a flag or turns it on, or of the page after it."""
    address, boss = url("new_checkout", view), client()
    page = boss.get(address, follow=True) if view == "on" else boss.post(address, follow=True)
    return " ".join(strip_tags(page.content.decode()).split())


def address_after_undo() -> str:
    """The address after the newest change of a flag that the replica does not have is undone."""
    changes.flags.set_rollout("brand_new", 8)
    boss = client()
    history = boss.get(url("brand_new", "history"), follow=True)
    # Without the way back.
    newest = Screen(history).attributes('a[href*="?undo="]', "href")[0].partition("&")[0]
    answer = boss.post(newest, confirmed(boss.get(newest)))
    return str(answer["Location"]).replace(url("brand_new"), "the flag")


def command(*arguments: str) -> Any:
    out = io.StringIO()
    call_command("flags", *arguments, stdout=out)
    return json.loads(out.getvalue())


def test_pages_and_commands_show_the_primary(primary: Worker) -> None:
    assert see(primary, "flag_list") == {
        "flag": ["brand_new", "new_checkout"],
        "state": ["off 7 %", "rollout 33 % 1 user"],
    }
    assert see(primary, "value_list") == ['"stripe"']
    assert see(primary, "change_page", "new_checkout") == [200, ["33"], True]
    found = see(primary, "command", "show", "new_checkout", "--json")
    assert found["allowed_users"] == [{"pk": 2, "name": "anna.smith"}]


def test_new_flag_has_its_pages_before_the_replica_has_it(primary: Worker) -> None:
    assert see(primary, "change_page", "brand_new") == [200, ["7"], False]
    assert see(primary, "history_page", "brand_new") == [200, True]
    assert see(primary, "address_after_undo") == "the flag"


def test_pages_that_toggle_describe_the_primary(primary: Worker) -> None:
    assert "“new_checkout” was changed: turned off. Off for all users." in see(
        primary, "toggle", "kill"
    )
    assert "On for 33 % of all users and 1 allowed user." in see(primary, "toggle", "on")
