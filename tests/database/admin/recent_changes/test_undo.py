"""The ways back on the page of recent changes: of one change, of chosen ones, of a transaction."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import acting_as
from flagstaff.changes import (
    add_allowed_users,
    delete,
    enable,
    remove_allowed_users,
    set_rollout,
    set_value,
)
from flagstaff.changes.flags import undo
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.admin_pages import (
    FLAGS,
    RECENT,
    confirmed,
    events_of,
    messages_of,
    page,
    permit,
    problems_of,
    production,
    staff,
    text_to_type,
    undo_url,
)
from tests.support.history import all_events
from tests.support.history_fixtures import flag_and_value
from tests.support.plan_pages import text_of

__all__ = ["flag_and_value"]

# Each change is a transaction of its own, as in production.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("flag_and_value"),
]


def undo_urls(html: str) -> list[str]:
    return [unescape(url) for url in re.findall(r'href="([^"]*\?undo=[^"]*)"', html)]


def newest() -> int:
    return all_events()[0].version


def confirm(client: Client, url: str, **more: str) -> Any:
    return client.post(url, {"_confirmed": "1", **more}, follow=True)


def change_both() -> tuple[int | None, int | None]:
    """Two changes of one actor. Returns the versions of the flag and the value."""
    with acting_as("ana"):
        first = set_rollout("new_checkout", 50).version
    with acting_as("ana"):
        return first, set_value("gateway", "adyen").version


def stored() -> tuple[int, object]:
    return FeatureFlag.objects.get().rollout_percent, KeyValueStore.objects.get().value


def test_undo_shows_what_it_does_and_returns_to_the_filtered_list(operator: Client) -> None:
    set_rollout("new_checkout", 50)
    [first, *_] = undo_urls(page(operator, f"{RECENT}?kind=flag&time=1h"))
    text = text_of(page(operator, first))
    assert "Undo this change of “new_checkout”?" in text
    assert "rollout 10 → 50 %" in text
    assert "rollout 50 → 10 %" in text
    assert stored() == (50, "stripe")
    response = confirm(operator, first, _reason="wrong flag")
    assert stored() == (10, "stripe")
    assert "The change of “new_checkout” was undone: rollout 50 → 10 %." in str(
        messages_of(response)
    )
    assert response.redirect_chain[-1][0] == f"{RECENT}?kind=flag&time=1h"
    event = all_events()[0]
    assert (event.source, event.reason) == ("admin", "wrong flag")


@pytest.mark.usefixtures("unused")
def test_deleted_flag_is_brought_back_with_its_users(operator: Client) -> None:
    alice = User.objects.create(username="alice")
    add_allowed_users("new_checkout", alice)
    enable("new_checkout")
    pk = FeatureFlag.objects.get().pk
    response = operator.post(f"{FLAGS}{pk}/delete/", {"post": "yes"}, follow=True)
    [link_of_message] = undo_urls(response.content.decode())
    html = page(operator, RECENT)
    assert "Bring back…" in html
    [first, *_] = undo_urls(html)
    who = "On for 10 % of all users and 1 allowed user."
    question = text_of(page(operator, first))
    assert "Bring back “new_checkout”?" in question
    assert f"“new_checkout” afterwards: {who}" in question
    assert "Bring back “new_checkout”?" in text_of(page(operator, link_of_message))
    response = confirm(operator, link_of_message)
    [message] = messages_of(response)
    assert f"“new_checkout” was created again, as it was before. {who}" in message
    [link] = re.findall(r'flagstaff-undo" href="([^"]+)"', response.content.decode())
    assert "This deletes “new_checkout”." in text_of(page(operator, link))
    flag = FeatureFlag.objects.get()
    assert (flag.pk, flag.rollout_percent, [*flag.allowed_users.all()]) == (pk, 10, [alice])


def test_undo_that_gives_a_flag_to_most_users_again_types_the_key(
    operator: Client, settings: Any
) -> None:
    users = [*User.objects.all()]
    # Otherwise a user may have it by the rollout.
    set_rollout("new_checkout", 0)
    add_allowed_users("new_checkout", users)
    enable("new_checkout")
    remove_allowed_users("new_checkout", users)
    production(settings)
    assert text_to_type(operator.get(undo_url(newest()))) == "new_checkout"


def test_all_changes_of_a_person_on_the_page_are_undone_together(operator: Client) -> None:
    versions = change_both()
    html = page(operator, f"{RECENT}?actor=ana")
    assert "Undo all 2 changes on this page…" in html
    [link] = [one for one in undo_urls(html) if one.count("undo=") == 2]
    assert all(f"undo={version}" in link for version in versions)
    response = confirm(operator, link)
    assert "Undone: “gateway”, “new_checkout”." in str(messages_of(response))
    assert stored() == (10, "stripe")
    assert len({event.transaction_id for event in all_events()[:2]}) == 1
    assert "changes on this page" not in page(operator, RECENT)


@pytest.mark.parametrize("query", ["", "?kind=flag&action=change"])
def test_undone_change_says_so_and_has_no_button(query: str, operator: Client) -> None:
    version = set_rollout("new_checkout", 50).version
    with acting_as("ana"):
        undo("new_checkout", version)
    html = page(operator, f"{RECENT}{query}")
    back, undone = (one for one in events_of(html) if "rollout" in one and "created" not in one)
    assert re.search(r"undone \d\d:\d\d:\d\d by ana$", undone)
    assert "undone" not in back
    assert f'value="{version}"' not in html
    assert undo_url(version) not in "".join(undo_urls(html))


def test_all_changes_on_the_page_are_undone_with_their_undo(operator: Client) -> None:
    with acting_as("ana"):
        version = set_rollout("new_checkout", 50).version
    with acting_as("ana"):
        back = undo("new_checkout", version).version
    html = page(operator, f"{RECENT}?actor=ana")
    [link] = [one for one in undo_urls(html) if one.count("undo=") == 2]
    assert f"undo={back}&undo={version}" in link
    assert "There is nothing to undo." in text_of(page(operator, link))


def test_overwritten_change_is_undone_with_the_newer_one(operator: Client) -> None:
    version = set_rollout("new_checkout", 50).version
    newer = set_rollout("new_checkout", 75).version
    assert f'value="{version}"' in page(operator, RECENT)
    confirm(operator, undo_url(version, newer))
    assert stored() == (10, "stripe")


def test_conflict_is_left_out_or_refuses_the_others_after_the_page(operator: Client) -> None:
    first, second = change_both()
    url = undo_url(first, second)
    data = confirmed(operator.get(url))
    assert data["undo"] == [f"{first},{second}"]
    set_rollout("new_checkout", 75)
    response = operator.post(url, data)
    [problem] = problems_of(response)
    assert f"but version {first} was expected" in problem
    assert stored() == (75, "adyen")
    text = text_of(response.content.decode())
    assert "1 change cannot be undone and is left out." in text
    assert "rollout was changed again and is 75 % now" in text
    operator.post(url, confirmed(response))
    assert stored() == (75, "stripe")


def test_change_that_was_undone_or_is_secret_has_no_button(operator: Client) -> None:
    version = set_rollout("new_checkout", 50).version
    set_rollout("new_checkout", 10)
    html = page(operator, undo_url(version))
    assert "There is nothing to undo." in text_of(html)
    assert 'flagstaff-confirm"' not in html
    assert f'<a href="{FLAGS}{FeatureFlag.objects.get().pk}/change/">new_checkout</a>' in html
    assert f'<a href="{RECENT}">Recent changes</a>' in page(
        operator, f"{undo_url(version)}&back=kind%3Dflag"
    ).replace("?kind=flag", "")
    KeyValueStore.objects.create(key="token", value="a", secret=True)
    set_value("token", "b")
    assert undo_urls(page(operator, f"{RECENT}?key=token&action=change")) == []


def test_transaction_is_undone_as_a_whole(operator: Client) -> None:
    with acting_as("deploy"):
        enable("new_checkout")
        set_value("gateway", "adyen")
    html = page(operator, RECENT)
    link = unescape(re.findall(r'href="([^"]*undo-transaction=[^"]*)"', html)[0])
    assert "Undo these changes? They are undone in one transaction" in text_of(page(operator, link))
    confirm(operator, link)
    assert FeatureFlag.objects.get().enabled is False
    assert stored() == (10, "stripe")


def test_unknown_change_is_a_message_and_no_version_is_not_found(operator: Client) -> None:
    for version in ("987654321", "9" * 18):
        response = operator.get(RECENT, {"undo": version}, follow=True)
        assert f"Not undone: the history has no version {version}" in str(messages_of(response))
    for text in ("x", "-1", "9" * 30, "\0"):
        assert operator.get(RECENT, {"undo": text}).status_code == 404
    # Nothing is selected: the filters are kept.
    response = operator.get(f"{RECENT}?back=kind%3Dflag", follow=True)
    assert response.redirect_chain == [(f"{RECENT}?kind=flag", 302)]
    assert "First select the changes that you want to undo." in str(messages_of(response))


# Permissions.


def test_undo_needs_the_permission_of_the_change(viewer: Client) -> None:
    permit(User.objects.get(username="staff"), "view_keyvaluestore")
    creation = newest()
    assert undo_urls(page(viewer, RECENT)) == []
    deleter = staff("view_featureflag", "delete_keyvaluestore", name="deleter")
    assert deleter.get(f"{RECENT}?undo-transaction={creation}").status_code == 403
    toggler = staff("toggle_featureflag", name="toggler")
    set_rollout("new_checkout", 50)
    [link] = undo_urls(page(toggler, RECENT))
    confirm(toggler, link)
    assert FeatureFlag.objects.get().rollout_percent == 10
    delete("new_checkout")
    editor = staff("view_featureflag", "change_featureflag", name="editor")
    for client, version in ((viewer, creation), (editor, newest())):
        assert client.get(undo_url(version)).status_code == 403
        assert client.post(undo_url(version), {"_confirmed": "1"}).status_code == 403
    assert KeyValueStore.objects.exists()
    assert not FeatureFlag.objects.exists()


def test_created_value_is_deleted_with_a_required_reason(
    operator: Client, reason_required: None
) -> None:
    assert "will be deleted" in page(operator, undo_url(newest()))
    response = confirm(operator, undo_url(newest()))
    assert "A reason is required." in response.content.decode()
    assert KeyValueStore.objects.exists()
    confirm(operator, undo_url(newest()), _reason="mistake")
    assert not KeyValueStore.objects.exists()
