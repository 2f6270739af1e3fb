"""The ways back on the page of recent changes: of one change, of chosen ones, of a transaction."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils.html import strip_tags

from flagstaff import acting_as
from flagstaff.changes import (
    add_allowed_users,
    delete,
    enable,
    set_rollout,
    set_value,
)
from flagstaff.history import recent_events
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.admin_pages import FLAGS, messages_of, page, staff
from tests.support.history_fixtures import flag_and_value

__all__ = ["flag_and_value"]

# Each change is a transaction of its own, as in production.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("flag_and_value"),
]

RECENT = "/admin/flagstaff/recentchange/"


def text_of(html: str) -> str:
    return unescape(" ".join(strip_tags(html).split()))


def undo_urls(html: str) -> list[str]:
    return [unescape(url) for url in re.findall(r'href="([^"]*\?undo=[^"]*)"', html)]


def url_of(*versions: int | None) -> str:
    return f"{RECENT}?{urlencode([('undo', version) for version in versions])}"


def newest() -> int:
    return recent_events(limit=1)[0].version


def confirm(client: Client, url: str, **more: str) -> Any:
    return client.post(url, {"_confirmed": "1", **more}, follow=True)


def test_undo_shows_the_change_and_what_it_becomes(admin_client: Client) -> None:
    set_rollout("new_checkout", 50)
    [first, *_] = undo_urls(page(admin_client, RECENT))
    text = text_of(page(admin_client, first))
    assert "Undo this change of “new_checkout”?" in text
    assert "rollout_percent 10 → 50" in text
    assert "rollout_percent 50 → 10" in text
    assert FeatureFlag.objects.get().rollout_percent == 50


def test_undo_returns_to_the_filtered_list(admin_client: Client) -> None:
    set_rollout("new_checkout", 50)
    [first, *_] = undo_urls(page(admin_client, f"{RECENT}?kind=flag&time=1h"))
    response = confirm(admin_client, first, _reason="wrong flag")
    assert FeatureFlag.objects.get().rollout_percent == 10
    assert "The change of “new_checkout” was undone: rollout_percent 50 → 10." in str(
        messages_of(response)
    )
    assert response.redirect_chain[-1][0] == f"{RECENT}?kind=flag&time=1h"
    event = recent_events(limit=1)[0]
    assert (event.source, event.reason) == ("admin", "wrong flag")


def test_deleted_flag_is_brought_back_with_its_users(admin_client: Client) -> None:
    alice = User.objects.create(username="alice")
    add_allowed_users("new_checkout", alice)
    enable("new_checkout")
    delete("new_checkout")
    html = page(admin_client, RECENT)
    assert "Bring back…" in html
    [first, *_] = undo_urls(html)
    who = "On for 10 % of all users and 1 allowed user."
    question = text_of(page(admin_client, first))
    assert "Bring back “new_checkout”?" in question
    assert f"“new_checkout” afterwards: {who}" in question
    response = confirm(admin_client, first)
    [message] = messages_of(response)
    assert f"“new_checkout” was created again, as it was before. {who}" in message
    [link] = re.findall(r'flagstaff-undo" href="([^"]+)"', response.content.decode())
    assert "This deletes “new_checkout”." in text_of(page(admin_client, link))
    flag = FeatureFlag.objects.get()
    assert (flag.rollout_percent, [*flag.allowed_users.all()]) == (10, [alice])


def test_message_after_a_deletion_links_to_the_undo(admin_client: Client) -> None:
    pk = FeatureFlag.objects.get().pk
    response = admin_client.post(f"{FLAGS}{pk}/delete/", {"post": "yes"}, follow=True)
    [link] = undo_urls(response.content.decode())
    confirm(admin_client, link)
    assert FeatureFlag.objects.get().pk == pk


def test_created_value_is_deleted(admin_client: Client) -> None:
    html = page(admin_client, url_of(newest()))
    assert "will be deleted" in html
    confirm(admin_client, url_of(newest()))
    assert not KeyValueStore.objects.exists()


def test_chosen_changes_are_undone_together(admin_client: Client) -> None:
    with acting_as("ana"):
        first = set_rollout("new_checkout", 50).version
    with acting_as("ana"):
        second = set_value("gateway", "adyen").version
    response = confirm(admin_client, url_of(first, second))
    assert "Undone: “gateway”, “new_checkout”." in str(messages_of(response))
    assert FeatureFlag.objects.get().rollout_percent == 10
    assert KeyValueStore.objects.get().value == "stripe"
    newest_events = recent_events(limit=2)
    assert len({event.transaction_id for event in newest_events}) == 1


def test_everything_of_a_person_on_the_page_is_one_link(admin_client: Client) -> None:
    with acting_as("ana"):
        set_rollout("new_checkout", 50)
    with acting_as("ana"):
        set_value("gateway", "adyen")
    html = page(admin_client, f"{RECENT}?actor=ana")
    assert "Undo all 2 changes on this page…" in html
    [link] = [one for one in undo_urls(html) if one.count("undo=") == 2]
    confirm(admin_client, link)
    assert FeatureFlag.objects.get().rollout_percent == 10
    assert "changes on this page" not in page(admin_client, RECENT)


def test_conflict_is_named_and_left_out(admin_client: Client) -> None:
    with acting_as("ana"):
        first = set_rollout("new_checkout", 50).version
    with acting_as("ana"):
        second = set_value("gateway", "adyen").version
    set_rollout("new_checkout", 75)
    text = text_of(page(admin_client, url_of(first, second)))
    assert "1 change cannot be undone and is left out." in text
    assert "cannot be undone: new_checkout has version" in text
    confirm(admin_client, url_of(first, second), undo=str(second))
    assert FeatureFlag.objects.get().rollout_percent == 75
    assert KeyValueStore.objects.get().value == "stripe"


def test_change_that_became_impossible_after_the_page_refuses_the_others(
    admin_client: Client,
) -> None:
    with acting_as("ana"):
        first = set_rollout("new_checkout", 50).version
    with acting_as("ana"):
        second = set_value("gateway", "adyen").version
    html = page(admin_client, url_of(first, second))
    posted = re.findall(r'name="undo" value="(\d+)"', html)
    assert len(posted) == 2
    set_rollout("new_checkout", 75)
    response = admin_client.post(url_of(first, second), {"_confirmed": "1", "undo": posted})
    assert "there has been another change since you opened the page" in response.content.decode()
    assert KeyValueStore.objects.get().value == "adyen"


def test_change_that_was_undone_already_has_no_button(admin_client: Client) -> None:
    version = set_rollout("new_checkout", 50).version
    set_rollout("new_checkout", 10)
    html = page(admin_client, url_of(version))
    assert "There is nothing to undo." in text_of(html)
    assert 'flagstaff-confirm"' not in html
    assert f'<a href="{RECENT}">Recent changes</a>' in html


def test_nothing_selected_keeps_the_filters(admin_client: Client) -> None:
    response = admin_client.get(f"{RECENT}?back=kind%3Dflag", follow=True)
    assert response.redirect_chain == [(f"{RECENT}?kind=flag", 302)]
    assert "First select the changes that you want to undo." in str(messages_of(response))


def test_transaction_is_undone_as_a_whole(admin_client: Client) -> None:
    with acting_as("deploy"):
        enable("new_checkout")
        set_value("gateway", "adyen")
    html = page(admin_client, RECENT)
    link = unescape(re.findall(r'href="([^"]*undo-transaction=[^"]*)"', html)[0])
    assert "Undo these 2 changes?" in text_of(page(admin_client, link))
    confirm(admin_client, link)
    assert FeatureFlag.objects.get().enabled is False
    assert KeyValueStore.objects.get().value == "stripe"


def test_secret_value_that_was_changed_has_no_undo_link(admin_client: Client) -> None:
    value = KeyValueStore.objects.create(key="token", value="a", secret=True)
    value.value = "b"
    value.save()
    html = page(admin_client, f"{RECENT}?key=token&action=change")
    assert undo_urls(html) == []


@pytest.mark.parametrize("version", ["987654321", "9" * 18])
def test_unknown_change_is_a_message(version: str, admin_client: Client) -> None:
    response = admin_client.get(f"{RECENT}?undo={version}", follow=True)
    assert f"Not undone: the history has no version {version}" in str(messages_of(response))


@pytest.mark.parametrize("version", ["x", "-1", "9" * 30, "\0"])
def test_text_that_is_no_version_is_not_found(version: str, admin_client: Client) -> None:
    assert admin_client.get(f"{RECENT}?{urlencode({'undo': version})}").status_code == 404


def test_get_writes_nothing(admin_client: Client) -> None:
    set_rollout("new_checkout", 50)
    before = newest()
    page(admin_client, url_of(before))
    assert newest() == before


# Permissions.


def test_user_who_may_only_view_has_no_undo_link() -> None:
    client = staff("view_featureflag", "view_keyvaluestore")
    assert undo_urls(page(client, RECENT)) == []
    assert client.get(url_of(newest())).status_code == 403
    assert client.post(url_of(newest()), {"_confirmed": "1"}).status_code == 403
    assert KeyValueStore.objects.exists()


def test_user_who_may_toggle_undoes_a_toggle() -> None:
    client = staff("toggle_featureflag")
    set_rollout("new_checkout", 50)
    links = undo_urls(page(client, RECENT))
    assert len(links) == 1
    confirm(client, links[0])
    assert FeatureFlag.objects.get().rollout_percent == 10


def test_bringing_back_needs_the_permission_to_add() -> None:
    delete("new_checkout")
    deletion = newest()
    client = staff("view_featureflag", "change_featureflag")
    assert client.post(url_of(deletion), {"_confirmed": "1"}).status_code == 403
    assert not FeatureFlag.objects.exists()


def test_undo_of_a_transaction_needs_the_permission_to_view() -> None:
    client = staff("view_featureflag", "delete_keyvaluestore")
    assert client.get(f"{RECENT}?undo-transaction={newest()}").status_code == 403


def test_read_only_pages_have_no_undo_link(admin_client: Client, settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "READ_ONLY": True}
    assert undo_urls(page(admin_client, RECENT)) == []
    assert admin_client.post(url_of(newest()), {"_confirmed": "1"}).status_code == 403


def test_required_reason_is_asked_for(admin_client: Client, settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "REQUIRE_REASON": True}
    response = confirm(admin_client, url_of(newest()))
    assert "A reason is required." in response.content.decode()
    assert KeyValueStore.objects.exists()
    confirm(admin_client, url_of(newest()), _reason="mistake")
    assert not KeyValueStore.objects.exists()
