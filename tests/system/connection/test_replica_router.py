"""A router that reads from a replica: the admin and the commands read from the primary.

Another database with older rows takes the place of a replica that lags.
"""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User

from flagstaff import changes
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, VALUES, browser_of, column, confirmed, page
from tests.support.fixtures import create_database
from tests.support.screen import Screen
from tests.support.terminals import document
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
    replica = create_database(server, migrated)
    with psycopg.connect(replica, autocommit=True) as session:
        session.execute(BEHIND.encode())
    monkeypatch.setenv("REPLICA_URL", replica)
    with Worker(database, project="tests.support.settings_replica") as worker:
        worker.call(create_users)
        yield worker


# These functions run in the worker.


def create_users() -> None:
    for alias in ("default", "replica"):
        for pk, name in enumerate(("boss", "anna.smith"), 1):
            User.objects.db_manager(alias).create_superuser(name, pk=pk)
    flag = FeatureFlag.objects.using("default").get(key="new_checkout")
    changes.flags.allow(flag.key, [2])
    changes.flags.create("brand_new", rollout_percent=7)


def url(key: str, view: str = "change") -> str:
    pk = FeatureFlag.objects.using("default").get(key=key).pk
    return f"{FLAGS}{pk}/{view}/"


def lists() -> list[list[str]]:
    """The flags, their states, and the values, in the lists of the admin."""
    html = page(browser_of("boss"))
    values = Screen(page(browser_of("boss"), VALUES)).texts("td.field-shown_value")
    return [column(html, "flag"), column(html, "state"), values]


def change_page(key: str) -> list[Any]:
    response = browser_of("boss").get(url(key))
    shown = Screen(response)
    rollouts = [shown.part(".flagstaff-steps").rows[-1][1].split()[0]]
    return [response.status_code, rollouts, "anna.smith" in shown.text]


def text_of(key: str, view: str, method: str = "get") -> str:
    """The text of a page of a flag, or of the page after a form was sent."""
    return Screen(getattr(browser_of("boss"), method)(url(key, view), follow=True)).text


def address_after_undo() -> str:
    """The address after the newest change of a flag that the replica does not have is undone."""
    changes.flags.set_rollout("brand_new", 8)
    boss = browser_of("boss")
    history = boss.get(url("brand_new", "history"), follow=True)
    # Without the way back.
    newest = Screen(history).attributes('a[href*="?undo="]', "href")[0].partition("&")[0]
    answer = boss.post(newest, confirmed(boss.get(newest)))
    return str(answer["Location"]).replace(url("brand_new"), "the flag")


def test_pages_and_commands_show_the_primary(primary: Worker) -> None:
    states = ["off 7 % when on", "rollout 33 % + 1 user"]
    assert primary.call(lists) == [["brand_new", "new_checkout"], states, ['"stripe"']]
    assert primary.call(change_page, "new_checkout") == [200, ["33"], True]
    flag = primary.call(document, "show", "new_checkout")
    assert flag["allowed_users"] == [{"pk": 2, "name": "anna.smith"}]


def test_new_flag_has_its_pages_before_the_replica_has_it(primary: Worker) -> None:
    assert primary.call(change_page, "brand_new") == [200, ["7"], False]
    assert "rollout 7 %" in primary.call(text_of, "brand_new", "history")
    assert primary.call(address_after_undo) == "the flag"


def test_pages_that_toggle_describe_the_primary(primary: Worker) -> None:
    killed = primary.call(text_of, "new_checkout", "kill", "post")
    assert "“new_checkout” was changed: turned off. Off for all users." in killed
    asked = primary.call(text_of, "new_checkout", "on")
    assert "On for 33 % of all users and 1 allowed user." in asked
