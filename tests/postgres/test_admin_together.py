"""In the admin, what one transaction changed belongs together, and has one undo."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import strip_tags

from flagstaff import acting_as
from flagstaff.changes import (
    create,
    delete,
    enable,
    set_rollout,
    set_value,
    undo_transaction,
    update,
)
from flagstaff.history import flag_history, flag_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.admin_pages import FLAGS, VALUES, page, permit, staff
from tests.terminals import open_shop

# Where each change is a transaction of its own, as it is in life.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def shop() -> None:
    open_shop()
    # Its opening was a change of many flags, too.
    Change.objects.all().delete()


@pytest.fixture
def operator(admin_client: Client) -> Client:
    return admin_client


def address(key: str) -> str:
    return f"{FLAGS}{FeatureFlag.objects.get(key=key).pk}/history/"


def release() -> int:
    """Three flags and a value; a change of new_checkout."""
    with transaction.atomic(), acting_as("deploy", reason="release 42"):
        change = set_rollout("new_checkout", 100).version
        enable("summer_banner")
        delete("search_v2")
        set_value("page_size", 50)
    assert change
    return change


def beside(html: str) -> list[str]:
    found = re.findall(r'<span class="flagstaff-beside">(.*?)</span>', html, re.DOTALL)
    return [unescape(" ".join(strip_tags(text).split())) for text in found]


def buttons(html: str) -> list[tuple[str, str]]:
    """Those that take all of it back: which change, and what stands on it."""
    return re.findall(r'name="_undo_all" value="(\d+)"[^>]*>(.*?)<', html)


def told(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def test_event_names_what_changed_with_it(operator: Client) -> None:
    change = release()
    html = page(operator, address("new_checkout"))
    assert beside(html) == ["together with search_v2, summer_banner, page_size"]
    assert buttons(html) == [(str(change), "Undo all 4")]
    banner = flag_version("summer_banner")
    assert f'<a href="{address("summer_banner")}#version-{banner}">summer_banner</a>' in html


def test_event_that_was_alone_has_nothing_of_it(operator: Client) -> None:
    set_rollout("new_checkout", 100)
    html = page(operator, address("new_checkout"))
    assert (beside(html), buttons(html)) == ([], [])


def test_many_are_cut_short_and_cost_no_query_each(operator: Client) -> None:
    with transaction.atomic():
        set_rollout("new_checkout", 100)
        for number in range(12):
            create(f"flag_{number:02}")
    with CaptureQueriesContext(connection) as queries:
        html = page(operator, address("new_checkout"))
    assert beside(html) == ["together with flag_00, flag_01, flag_02, flag_03, flag_04 and 7 more"]
    assert buttons(html)[0][1] == "Undo all 13"
    assert len(queries) <= 20


def test_button_takes_all_of_it_back_by_the_persons_hand(operator: Client) -> None:
    change = release()
    sent = {"_undo_all": change, "expect_version": change, "reason": "too soon", "_sure": "1"}
    response = operator.post(address("new_checkout"), sent, follow=True)
    assert told(response) == [
        "As they were: “new_checkout”, “search_v2”, “summer_banner”, “page_size”."
    ]
    assert FeatureFlag.objects.get(key="new_checkout").rollout_percent == 25
    assert FeatureFlag.objects.get(key="search_v2").kind == "ops"
    assert KeyValueStore.objects.get(key="page_size").value == 20
    admin = str(User.objects.get(username="admin").pk)
    for key in ("new_checkout", "search_v2", "summer_banner"):
        event = flag_history(key)[0]
        assert (event.actor, event.source, event.reason) == (admin, "admin", "too soon")


def test_first_press_shows_all_of_it_and_writes_nothing(operator: Client) -> None:
    with transaction.atomic():
        change = set_rollout("new_checkout", 100).version
        create("brand_new", enabled=True)
        delete("beta_reviews")
    entries = Change.objects.count()
    sent = {"_undo_all": change, "reason": "too soon"}
    html = operator.post(address("new_checkout"), sent).content.decode()
    assert Change.objects.count() == entries
    [table] = re.findall(r"<tbody>(.*)</tbody>", html, re.DOTALL)
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    beta, brand, checkout = (unescape(" ".join(strip_tags(row).split())) for row in rows)
    assert beta.startswith("beta_reviews deleted, enabled true")
    assert beta.endswith("removed 2 allowed users (alice, bob) comes back")
    assert brand == 'brand_new created, enabled true, kind "release" is deleted'
    assert checkout == "new_checkout rollout_percent 25 → 100 is as it was"
    assert 'value="too soon"' in html


def test_second_press_does_nothing(operator: Client) -> None:
    change = release()
    undo_transaction(change)
    entries = Change.objects.count()
    response = operator.post(
        address("new_checkout"), {"_undo_all": change, "_sure": "1"}, follow=True
    )
    assert told(response) == ["All of it is so already, nothing was changed."]
    assert Change.objects.count() == entries


def test_newer_change_of_another_one_is_refused_in_words(operator: Client) -> None:
    change = release()
    with acting_as("ana"):
        update("summer_banner", {"description": "Mine"})
    entries = Change.objects.count()
    response = operator.post(
        address("new_checkout"), {"_undo_all": change, "_sure": "1"}, follow=True
    )
    [message] = told(response)
    assert message.startswith("Refused: summer_banner has version")
    assert "ana at" in message
    assert Change.objects.count() == entries


def test_creation_of_the_flag_that_is_looked_at_leads_to_the_list(operator: Client) -> None:
    with transaction.atomic():
        change = create("brand_new").version
        set_rollout("new_checkout", 100)
    response = operator.post(address("brand_new"), {"_undo_all": change, "_sure": "1"})
    assert (response.status_code, response["Location"]) == (302, FLAGS)
    assert not FeatureFlag.objects.filter(key="brand_new").exists()


FLAG_RIGHTS = ("add_featureflag", "change_featureflag", "delete_featureflag")


def test_who_may_not_do_all_of_it_has_no_button_and_may_not_press_it() -> None:
    change = release()
    clerk = staff(*FLAG_RIGHTS)
    html = page(clerk, address("new_checkout"))
    assert buttons(html) == []
    # A value is not to be seen, and so is one among the others.
    assert beside(html) == ["together with search_v2, summer_banner and 1 more"]
    assert (
        clerk.post(address("new_checkout"), {"_undo_all": change, "_sure": "1"}).status_code == 403
    )
    assert FeatureFlag.objects.get(key="new_checkout").rollout_percent == 100
    permit(User.objects.get(username="staff"), "change_keyvaluestore")
    assert (
        clerk.post(address("new_checkout"), {"_undo_all": change, "_sure": "1"}).status_code == 302
    )
    assert FeatureFlag.objects.get(key="new_checkout").rollout_percent == 25


@pytest.mark.parametrize("right", ["add", "delete"])
def test_what_comes_back_or_goes_needs_the_right_for_it(right: str) -> None:
    rights = [one for one in FLAG_RIGHTS if not one.startswith(right)]
    with transaction.atomic():
        change = set_rollout("new_checkout", 100).version
        if right == "add":
            delete("search_v2")
        else:
            create("brand_new")
    clerk = staff(*rights)
    assert buttons(page(clerk, address("new_checkout"))) == []
    assert (
        clerk.post(address("new_checkout"), {"_undo_all": change, "_sure": "1"}).status_code == 403
    )


def test_change_of_another_flag_is_not_taken_back_from_here(operator: Client) -> None:
    release()
    other = set_rollout("dark_mode", 7).version
    assert operator.post(address("new_checkout"), {"_undo_all": other}).status_code == 404
    assert operator.post(address("new_checkout"), {"_undo_all": "x"}).status_code == 404
    assert FeatureFlag.objects.get(key="dark_mode").rollout_percent == 7


def test_value_shows_it_too(operator: Client) -> None:
    release()
    row = KeyValueStore.objects.get(key="page_size")
    html = page(operator, f"{VALUES}{row.pk}/history/")
    assert beside(html) == ["together with new_checkout, search_v2, summer_banner"]
