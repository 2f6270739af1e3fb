"""The page that asks before an undo: of one change, of chosen ones, or of a transaction."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.utils.html import strip_tags

from flagstaff import acting_as, changes
from flagstaff.history import flag_version, value_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.admin_pages import (
    FLAGS,
    RECENT,
    asks,
    confirmed,
    flag_url,
    kill,
    messages_of,
    notes_of,
    page,
    permit,
    problems_of,
    production,
    restore_url,
    rows_of,
    staff,
    state,
    text_to_type,
    undo,
    undo_all_url,
    undo_url,
    undo_urls,
)
from tests.support.history import all_events, flag_history
from tests.support.plan_pages import text_of

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)

KEY = "new_checkout"
USERS = 100


@pytest.fixture
def flag(operator: Client) -> FeatureFlag:
    User.objects.bulk_create([User(username=f"user{number}") for number in range(USERS - 1)])
    return FeatureFlag.objects.create(key=KEY, enabled=True, rollout_percent=25)


@pytest.fixture
def gateway() -> KeyValueStore:
    return KeyValueStore.objects.create(key="gateway", value="stripe")


def after_of(response: Any) -> list[str]:
    """Returns what each row of the page will be."""
    cells = re.findall(
        r'data-label="After the undo">(.*?)</td>', response.content.decode(), re.DOTALL
    )
    return [unescape(" ".join(strip_tags(cell).split())) for cell in cells]


def undo_all(client: Client, version: int | None, **data: str) -> Any:
    """Opens the page that undoes a transaction, confirms it, and returns the page after it."""
    url = undo_all_url(version)
    return client.post(url, confirmed(client.get(url), **data), follow=True)


def stored() -> tuple[int, object]:
    return FeatureFlag.objects.get(key=KEY).rollout_percent, KeyValueStore.objects.get().value


# One change.


def test_link_of_a_kill_leads_to_its_undo_and_that_to_its_own(
    operator: Client, flag: FeatureFlag
) -> None:
    [url] = undo_urls(kill(operator, flag))
    assert url == undo_url(flag_version(KEY))
    response = operator.get(url)
    html = response.content.decode()
    assert "Undo this change of “new_checkout”?" in html
    assert f'<a href="{flag_url(flag)}">new_checkout</a>' in html
    assert after_of(response) == ["turned on"]
    assert state(flag) == (False, 25)
    response = operator.post(url, confirmed(response), follow=True)
    assert messages_of(response)[0].startswith(
        "The change of “new_checkout” was undone: turned on."
    )
    assert response.redirect_chain == [(flag_url(flag, "history"), 302)]
    assert state(flag) == (True, 25)
    *_others, url = undo_urls(response)
    operator.post(url, confirmed(operator.get(url)))
    assert state(flag) == (False, 25)


def test_undo_that_gives_the_flag_to_users_says_to_how_many_and_returns_to_the_filtered_list(
    operator: Client, admin_user: User, flag: FeatureFlag
) -> None:
    changes.flags.set_rollout(KEY, 0)
    links = re.findall(r'href="([^"]*\?undo=[^"]*)"', page(operator, f"{RECENT}?kind=flag&time=1h"))
    url = unescape(links[0])
    entries = Change.objects.count()
    response = operator.post(url, {"_reason": "too low"})
    assert asks(response)
    assert ">Recent changes</a>" in response.content.decode()
    assert after_of(response) == ["rollout 0 → 25 %"]
    [note] = notes_of(response)
    assert re.fullmatch(
        r"0 → 25 %: \d+ users gain the flag\. Afterwards \d+ of 100 users have it\.", note
    )
    assert (state(flag), Change.objects.count()) == ((True, 0), entries)
    data = confirmed(response)
    assert data["_reason"] == ["too low"]
    response = operator.post(url, data, follow=True)
    assert note in messages_of(response)[0]
    assert response.redirect_chain[-1][0] == f"{RECENT}?kind=flag&time=1h"
    assert state(flag) == (True, 25)
    event = flag_history(KEY)[0]
    assert (event.actor, event.source, event.reason) == (str(admin_user.pk), "admin", "too low")


def changed_again() -> str:
    version = changes.flags.set_rollout(KEY, 80).version
    changes.flags.set_rollout(KEY, 70)
    return undo_url(version)


def undone_already() -> str:
    version = changes.flags.set_rollout(KEY, 80).version
    changes.flags.set_rollout(KEY, 25)
    return undo_url(version)


def secret() -> str:
    changes.values.create("token", "hunter2", secret=True)
    return undo_url(changes.values.set("token", "hunter3").version)


def transaction_changed_again() -> str:
    with transaction.atomic():
        changes.values.set("gateway", "adyen")
        version = changes.flags.set_rollout(KEY, 80).version
    changes.flags.set_rollout(KEY, 70)
    return undo_all_url(version)


AGAIN = "new_checkout: rollout was changed again and is 70 % now"
SECRET = "token is secret, so the history says only that its value changed; enter it again with"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (changed_again, f"cannot be undone: {AGAIN}"),
        (undone_already, "There is nothing to undo."),
        (secret, f'cannot be undone: {SECRET} "manage.py flags value set token -"'),
        (transaction_changed_again, f"This cannot be undone: {AGAIN}"),
    ],
)
def test_page_of_what_cannot_be_undone_says_why_and_has_no_button(
    change: Callable[[], str], text: str, operator: Client, flag: FeatureFlag, gateway: object
) -> None:
    url = change()
    entries = Change.objects.count()
    for response in (operator.get(url), operator.post(url, {"_confirmed": "1"})):
        html = response.content.decode()
        assert text in text_of(html)
        assert not asks(response)
    assert Change.objects.count() == entries


def test_unknown_change_is_a_message_and_no_version_is_not_found(operator: Client) -> None:
    for version in ("987654321", "9" * 18):
        response = operator.get(RECENT, {"undo": version}, follow=True)
        assert f"Not undone: the history has no version {version}" in str(messages_of(response))
    for name in ("undo", "undo-transaction"):
        for text in ("x", "-1", "9" * 30, "\0"):
            assert operator.get(RECENT, {name: text}).status_code == 404
    # Nothing is selected: the filters are kept.
    response = operator.get(f"{RECENT}?back=kind%3Dflag", follow=True)
    assert response.redirect_chain == [(f"{RECENT}?kind=flag", 302)]
    assert "First select the changes that you want to undo." in str(messages_of(response))


# Creations and deletions.


@pytest.mark.parametrize("typed", ["", "banner"], ids=["other", "production"])
def test_undo_of_a_creation_asks_to_delete(typed: str, operator: Client, settings: Any) -> None:
    if typed:
        production(settings)
    url = undo_url(changes.flags.create("banner").version)
    response = operator.get(url)
    assert (notes_of(response), text_to_type(response)) == (["This deletes “banner”."], typed)
    if typed:
        response = operator.post(url, confirmed(response, _typed_key="x"))
    assert FeatureFlag.objects.exists()
    response = operator.post(url, confirmed(response, _typed_key=typed), follow=True)
    assert messages_of(response) == ["“banner” was deleted."]
    assert response.redirect_chain == [(FLAGS, 302)]
    assert not FeatureFlag.objects.exists()


@pytest.mark.usefixtures("unused")
def test_deleted_flag_is_brought_back_with_its_users(operator: Client, flag: FeatureFlag) -> None:
    alice = User.objects.create(username="alice")
    changes.flags.allow(KEY, alice)
    response = operator.post(flag_url(flag, "delete"), {"post": "yes"}, follow=True)
    [url] = undo_urls(response)
    assert "Bring back…" in page(operator, RECENT)
    who = "On for 25 % of all users and 1 allowed user."
    question = text_of(page(operator, url))
    assert "Bring back “new_checkout”?" in question
    assert f"“new_checkout” afterwards: {who}" in question
    response = operator.post(url, confirmed(operator.get(url)), follow=True)
    [message] = messages_of(response)
    assert f"“new_checkout” was created again, as it was before. {who}" in message
    assert "This deletes “new_checkout”." in text_of(page(operator, undo_urls(response)[0]))
    again = FeatureFlag.objects.get()
    assert (again.pk, again.rollout_percent, [*again.allowed_users.all()]) == (flag.pk, 25, [alice])


# Several changes.


def test_all_changes_of_a_person_on_the_page_are_undone_together(
    operator: Client, flag: FeatureFlag, gateway: KeyValueStore
) -> None:
    with acting_as("ana"):
        changes.flags.set_rollout(KEY, 50)
        changes.values.set("gateway", "adyen")
    html = page(operator, f"{RECENT}?actor=ana")
    assert "Undo all 2 changes on this page…" in html
    [url] = {unescape(one) for one in re.findall(r'href="([^"]*undo=[^"]*&amp;undo=[^"]*)"', html)}
    assert {f"undo={flag_version(KEY)}", f"undo={value_version('gateway')}"} <= {
        *url.partition("?")[2].split("&")
    }
    response = operator.post(url, confirmed(operator.get(url)), follow=True)
    assert "Undone: “gateway”, “new_checkout”." in str(messages_of(response))
    assert stored() == (25, "stripe")
    assert len({event.transaction_id for event in all_events()[:2]}) == 1
    assert "changes on this page" not in page(operator, RECENT)


def test_transaction_is_shown_row_by_row_and_undone_as_a_whole(
    operator: Client, flag: FeatureFlag, gateway: KeyValueStore
) -> None:
    changes.flags.create(
        "beta", enabled=True, allowed_users=[User.objects.create(username="alice")]
    )
    with transaction.atomic():
        version = changes.flags.set_rollout(KEY, 100).version
        changes.flags.create("brand_new", enabled=True)
        changes.flags.delete("beta")
        changes.values.set("gateway", "adyen")
    entries = Change.objects.count()
    response = operator.post(undo_all_url(version), {"_reason": "too soon"})
    html = response.content.decode()
    assert Change.objects.count() == entries
    assert "Undo these changes? They are undone in one transaction" in text_of(html)
    value, beta, brand, checkout = rows_of(html)
    assert beta.startswith("flag beta deleted, on")
    assert beta.endswith("removed 1 allowed user (alice) will be created again, as it was before")
    assert brand == 'flag brand_new created, on, kind "release" will be deleted'
    assert checkout == "flag new_checkout rollout 25 → 100 % rollout 100 → 25 %"
    assert value.startswith("value gateway")
    [message] = messages_of(operator.post(undo_all_url(version), confirmed(response), follow=True))
    assert message.startswith("Undone: “gateway”, “beta”, “brand_new”, “new_checkout”. ")
    assert stored() == (25, "stripe")
    assert {*FeatureFlag.objects.values_list("key", flat=True)} == {KEY, "beta"}
    assert [event.reason for event in all_events()[:4]] == ["too soon"] * 4


@pytest.mark.thorough
def test_undo_of_many_rows_is_confirmed_and_has_a_link_that_undoes_it(
    operator: Client, settings: Any
) -> None:
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 20
    with transaction.atomic():
        FeatureFlag.objects.bulk_create(FeatureFlag(key=f"flag_{n}") for n in range(201))
    [url] = undo_urls(undo_all(operator, flag_version("flag_0")))
    assert not FeatureFlag.objects.filter(key__startswith="flag_").exists()
    operator.post(url, confirmed(operator.get(url)))
    assert FeatureFlag.objects.filter(key__startswith="flag_").count() == 201


# Changes after the page was shown.


def test_change_after_the_page_is_a_conflict_that_asks_again(
    operator: Client, flag: FeatureFlag
) -> None:
    url = undo_url(changes.flags.set_rollout(KEY, 5).version)
    data = confirmed(operator.get(url))
    with acting_as("ana"):
        changes.flags.update(KEY, {"description": "One"})
    response = operator.post(url, data | {"_reason": "too low"})
    [problem] = problems_of(response)
    assert re.fullmatch(
        r"Not saved: new_checkout has version \d+, but version \d+ was expected; changes after "
        r'version \d+: ana .*: description "" → "One"\. The page now shows the present state; '
        r"press the button again\.",
        problem,
    )
    assert asks(response)
    assert state(flag) == (True, 5)
    operator.post(url, confirmed(response))
    assert state(flag) == (True, 25)
    assert flag_history(KEY)[0].reason == "too low"


def test_conflict_after_the_page_is_left_out_when_it_asks_again(
    operator: Client, flag: FeatureFlag, gateway: KeyValueStore
) -> None:
    url = undo_url(
        changes.flags.set_rollout(KEY, 50).version, changes.values.set("gateway", "adyen").version
    )
    data = confirmed(operator.get(url))
    changes.flags.set_rollout(KEY, 75)
    response = operator.post(url, data)
    assert stored() == (75, "adyen")
    text = text_of(response.content.decode())
    assert "1 change cannot be undone and is left out." in text
    assert "rollout was changed again and is 75 % now" in text
    operator.post(url, confirmed(response))
    assert stored() == (75, "stripe")


def test_undo_of_something_else_than_was_shown_asks_again(
    operator: Client, flag: FeatureFlag
) -> None:
    changes.flags.create("banner")
    deletion = changes.flags.delete("banner").version
    changes.flags.create("banner")
    url = undo_url(deletion, changes.flags.set_rollout(KEY, 80).version)
    data = confirmed(operator.get(url))
    # Its key becomes free.
    changes.flags.delete("banner")
    response = operator.post(url, data)
    assert "the undo would do something else than was shown" in problems_of(response)[0]
    assert state(flag) == (True, 80)
    operator.post(url, confirmed(response))
    assert state(flag) == (True, 25)


# Production.


@pytest.mark.parametrize("is_restore", [False, True])
def test_undo_for_most_users_and_restore_in_production_type_the_key(
    is_restore: bool, operator: Client, flag: FeatureFlag, settings: Any
) -> None:
    production(settings)
    FeatureFlag.objects.update(rollout_percent=100)
    before = flag_version(KEY)
    url = undo_url(changes.flags.set_rollout(KEY, 5).version)
    if is_restore:
        url = restore_url(flag_url(flag, "history"), before)
    response = operator.get(url)
    assert text_to_type(response) == KEY
    response = operator.post(url, confirmed(response, _typed_key="x"))
    assert problems_of(response) == ["Not confirmed: type “new_checkout” exactly."]
    assert state(flag) == (True, 5)
    operator.post(url, confirmed(response, _typed_key=KEY))
    assert state(flag) == (True, 100)


# Permissions.


def test_undo_needs_the_permission_of_the_change(gateway: KeyValueStore, viewer: Client) -> None:
    changes.flags.create(KEY, rollout_percent=10)
    permit(User.objects.get(username="staff"), "view_keyvaluestore")
    creation = value_version("gateway")
    assert "undo=" not in page(viewer, RECENT)
    deleter = staff("view_featureflag", "delete_keyvaluestore", name="deleter")
    assert deleter.get(undo_all_url(creation)).status_code == 403
    toggler = staff("toggle_featureflag", name="toggler")
    version = changes.flags.set_rollout(KEY, 50).version
    assert undo_url(version) in page(toggler, RECENT)
    undo(toggler, version)
    assert FeatureFlag.objects.get().rollout_percent == 10
    deletion = changes.flags.delete(KEY).version
    editor = staff("view_featureflag", "change_featureflag", name="editor")
    for client, undone in ((viewer, creation), (editor, deletion)):
        assert client.get(undo_url(undone)).status_code == 403
        assert client.post(undo_url(undone), {"_confirmed": "1"}).status_code == 403
    assert KeyValueStore.objects.exists()
    assert not FeatureFlag.objects.exists()


ROWS: dict[str, Callable[[], object]] = {
    "add_featureflag": lambda: changes.flags.delete("banner"),
    "delete_featureflag": lambda: changes.flags.create("poster"),
    "change_keyvaluestore": lambda: changes.values.set("gateway", "adyen"),
}


@pytest.mark.parametrize("permission", ROWS)
def test_undo_of_a_transaction_needs_the_permissions_for_all_its_changes(
    permission: str, flag: FeatureFlag, gateway: KeyValueStore
) -> None:
    changes.flags.create("banner")
    with transaction.atomic():
        version = changes.flags.set_rollout(KEY, 100).version
        ROWS[permission]()
    editor = staff("change_featureflag", *(one for one in ROWS if one != permission))
    url = undo_all_url(version)
    assert "undo-transaction" not in page(editor, flag_url(flag, "history"))
    for response in (editor.get(url), editor.post(url, {"_confirmed": "1"})):
        assert response.status_code == 403
    assert state(flag) == (True, 100)
    permit(User.objects.get(username="staff"), permission)
    undo_all(editor, version)
    assert state(flag) == (True, 25)


def test_undo_of_any_entry_of_creation_needs_delete_permission() -> None:
    alice = User.objects.create(username="alice")
    changes.flags.create(KEY, allowed_users=[alice])
    flag = FeatureFlag.objects.get()
    editor = staff("change_featureflag")
    assert "?undo=" not in page(editor, flag_url(flag, "history"))
    for entry in Change.objects.filter(object_pk=flag.pk):
        assert editor.post(undo_url(entry.pk), {"_confirmed": "1"}).status_code == 403
    assert flag.allowed_users.get() == alice
