"""Every page of the admin: its title, and its size with a value of a megabyte."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from flagstaff import changes
from flagstaff.history import value_version
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from tests.support.admin_pages import (
    FLAGS,
    SEGMENTS,
    VALUES,
    confirmed,
    page,
    restore_url,
    staff,
    toggle_url,
    undo_all_url,
    undo_url,
)
from tests.support.experiments import EXPERIMENTS
from tests.support.plans import PLANS
from tests.support.screen import Screen

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)

MAX_BYTES = 500_000
# Quotes are six characters each in HTML.
MEGABYTE = {"text": '"' * 500_000}
REPR = re.compile(r"&lt;[^&]* at 0x|object at 0x|DatabaseDefault|&lt;function|lambda")
VIEWS = ("", "add/", "{}/change/", "{}/delete/", "{}/history/")
LISTS = {
    "Flags": FLAGS,
    "Values": VALUES,
    "Segments": SEGMENTS,
    "Rollout plans": PLANS,
    "Experiments": EXPERIMENTS,
}
MODELS = {FLAGS: "featureflag", VALUES: "keyvaluestore"}


@pytest.fixture
def rows() -> dict[str, Any]:
    """A flag with an allowed user, and a large value; both have a history."""
    flag = FeatureFlag.objects.create(key="new_checkout", enabled=False, rollout_percent=25)
    flag.allowed_users.add(User.objects.create(username="alice"))
    value = KeyValueStore.objects.create(key="catalogue", value="short")
    with transaction.atomic():
        changes.flags.set_rollout("new_checkout", 50)
        changes.values.set("catalogue", MEGABYTE)
    changes.values.set("catalogue", {**MEGABYTE, "more": True})
    return {FLAGS: flag, VALUES: value}


def client_of(person: str) -> Client:
    if person == "superuser":
        client = Client()
        client.force_login(User.objects.create_superuser("root"))
        return client
    return staff(*(f"{person}_{model}" for model in MODELS.values()))


def assert_readable(response: Any) -> None:
    """Checks the size of a page, and that it shows no object of Python."""
    assert response.status_code == 200
    assert len(response.content) < MAX_BYTES
    assert not REPR.search(response.content.decode())


# One transaction is faster, and enough to read.
@pytest.mark.django_db
@pytest.mark.parametrize("person", ["superuser", "change", "view"])
@pytest.mark.parametrize("models", list(MODELS))
def test_page_is_readable_or_forbidden(models: str, person: str, rows: dict[str, Any]) -> None:
    client = client_of(person)
    for view in VIEWS:
        response = client.get(models + view.format(rows[models].pk), follow=True)
        if person != "superuser" and view in {"add/", "{}/delete/"}:
            assert response.status_code == 403
        else:
            assert_readable(response)


def test_pages_that_ask_and_history_of_large_value_are_readable(
    operator: Client, rows: dict[str, Any]
) -> None:
    second = value_version("catalogue")
    changes.values.set("catalogue", {**MEGABYTE, "more": False})
    for address in (restore_url(second), undo_all_url(second)):
        assert_readable(operator.get(address))
    assert_readable(operator.get(toggle_url(rows[FLAGS], "on")))
    html = page(operator, f"{VALUES}{rows[VALUES].pk}/history/")
    assert len(re.findall(r"… \([\d,]{7,} more characters\)", html)) == 5
    newest = value_version("catalogue")
    shown = confirmed(operator.get(undo_url(newest)))
    changes.values.set("catalogue", {**MEGABYTE, "more": None})
    html = operator.post(undo_url(newest), shown).content.decode()
    [problem] = re.findall(r"catalogue: value was changed again .*", html)
    assert "more characters)" in problem
    assert len(problem) < 1_000


# Titles, and the name of the environment.


@pytest.fixture
def small_rows() -> dict[str, int]:
    """The primary key of a flag, a value and a segment, each with a history."""
    changes.flags.create("my_key", enabled=True)
    changes.values.create("my_key_of_a_value", 1)
    changes.segments.create(
        "my_key", [{"attribute": "is_staff", "operator": "in", "values": [True]}]
    )
    models: dict[str, Any] = {FLAGS: FeatureFlag, VALUES: KeyValueStore, SEGMENTS: Segment}
    return {url: model.objects.get().pk for url, model in models.items()}


def strips(html: str) -> list[str]:
    """Returns the names of environments that a page shows."""
    return Screen(html).texts("p.flagstaff-environment")


def title(html: str) -> str:
    return Screen(html).title


@pytest.mark.parametrize("is_production", [True, False])
@pytest.mark.parametrize("models", [FLAGS, VALUES, SEGMENTS])
def test_page_names_the_environment_once_and_the_key_in_its_title(
    models: str,
    *,
    is_production: bool,
    operator: Client,
    small_rows: dict[str, int],
    settings: Any,
) -> None:
    environment = {"name": "<b>shop</b>", "color": "purple", "production": is_production}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ENVIRONMENT": environment}
    of_flag = ("kill", "allowed-users", "release", "rules", "rollout")
    own = [f"{{}}/{one}/" for one in of_flag] if models == FLAGS else []
    name = environment["name"]
    for view in (*VIEWS, *own):
        html = page(operator, models + view.format(small_rows[models]))
        assert strips(html) == [f"⚠ {name}" if is_production else name]
        assert '"flagstaff-environment flagstaff-environment-purple"' in html
        assert "shop" not in Screen(html).texts("b")
        assert title(html).startswith(f"{name} | ")
        assert "my_key" in title(html) or "{}" not in view
    if models == FLAGS:
        html = page(operator, f"{FLAGS}{small_rows[FLAGS]}/rollout/?percent=50")
        assert strips(html) == [f"⚠ {name}" if is_production else name]
        assert title(html).startswith(f"{name} | ")
        assert "my_key" in title(html)
    assert strips(page(operator, "/admin/auth/user/")) == []


def test_page_about_several_rows_has_no_key_in_its_title(operator: Client) -> None:
    for key in ("key_1", "key_2"):
        changes.flags.create(key, enabled=True)
    pks = list(FeatureFlag.objects.values_list("pk", flat=True))
    for action in ("delete", "kill"):
        data = {"action": action, "_selected_action": pks}
        assert "key_1" not in title(operator.post(FLAGS, data).content.decode())


def test_page_without_the_setting_has_its_own_title_only(
    operator: Client, small_rows: dict[str, int]
) -> None:
    for view in VIEWS:
        html = page(operator, FLAGS + view.format(small_rows[FLAGS]))
        assert strips(html) == []
        assert " | Django site admin" in title(html)
    for text, url in {**LISTS, "Select segment": f"{SEGMENTS}?_popup=1"}.items():
        html = page(operator, url)
        assert title(html).partition(" | ")[0] == text
        assert f"<h1>{text}</h1>" in html
