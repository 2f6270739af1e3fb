"""The page of an undo, which a message links to, and the undo that needs no page."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from flagstaff.changes import (
    add_allowed_users,
    create,
    create_value,
    disable,
    remove_allowed_users,
    set_rollout,
    set_value,
    update,
)
from flagstaff.exceptions import FlagstaffError
from flagstaff.history import flag_history, flag_version, value_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.admin_pages import (
    FLAGS,
    VALUES,
    asks,
    confirmed,
    flag_url,
    kill,
    messages_of,
    notes_of,
    post_confirmed,
    preview_of,
    problems_of,
    production,
    state,
    text_to_type,
    undo_urls,
)

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)

KEY = "new_checkout"
USERS = 100


@pytest.fixture
def flag(operator: Client) -> FeatureFlag:
    User.objects.bulk_create([User(username=f"user{number}") for number in range(USERS - 1)])
    return FeatureFlag.objects.create(key=KEY, enabled=True, rollout_percent=25)


def undo_url(flag: FeatureFlag, version: int | None) -> str:
    return f"{flag_url(flag, 'history')}?undo={version}"


# The link.


def test_link_of_a_kill_leads_to_its_undo_and_that_to_its_own(
    operator: Client, flag: FeatureFlag
) -> None:
    [url] = undo_urls(kill(operator, flag))
    assert url == undo_url(flag, flag_version(KEY))
    response = operator.get(url)
    assert "Undo this change of “new_checkout”?" in response.content.decode()
    assert preview_of(response) == {"enabled": ["false", "true"]}
    assert state(flag) == (False, 25)
    response = operator.post(url, confirmed(response), follow=True)
    assert messages_of(response)[0].startswith(
        "The change of “new_checkout” was undone: enabled false → true."
    )
    assert response.redirect_chain == [(flag_url(flag, "history"), 302)]
    assert state(flag) == (True, 25)
    *_others, url = undo_urls(response)
    operator.post(url, confirmed(operator.get(url)))
    assert state(flag) == (False, 25)


def test_undo_that_gives_the_flag_to_users_asks_and_says_to_how_many(
    operator: Client, flag: FeatureFlag
) -> None:
    version = set_rollout(KEY, 0).version
    url = flag_url(flag, "history")
    response = operator.post(url, {"_undo": version, "_reason": "too low"})
    assert asks(response)
    assert preview_of(response) == {"rollout_percent": ["0", "25"]}
    [note] = notes_of(response)
    assert re.fullmatch(
        r"0 → 25 %: \d+ users gain the flag\. Afterwards \d+ of 100 users have it\.", note
    )
    assert notes_of(operator.get(undo_url(flag, version))) == [note]
    assert state(flag) == (True, 0)
    data = confirmed(response)
    assert (data["_undo"], data["_reason"]) == ([str(version)], ["too low"])
    [message] = messages_of(operator.post(url, data, follow=True))
    assert note in message
    assert state(flag) == (True, 25)
    assert flag_history(KEY)[0].reason == "too low"
    assert asks(operator.post(url, {"_undo": disable(KEY).version}))
    assert state(flag) == (False, 25)


def test_page_of_a_narrowing_undo_writes_nothing_although_the_button_asks_nothing(
    operator: Client, flag: FeatureFlag
) -> None:
    version = set_rollout(KEY, 80).version
    entries, url = Change.objects.count(), flag_url(flag, "history")
    assert asks(operator.get(undo_url(flag, version)))
    operator.get(url, {"_undo": str(version)})
    assert (Change.objects.count(), flag_version(KEY)) == (entries, version)
    assert not asks(operator.post(url, {"_undo": version}))
    assert state(flag) == (True, 25)
    version = update(KEY, {"description": "One", "kind": "ops"}).version
    assert not asks(operator.post(url, {"_undo": version}))
    assert flag_version(KEY) != version


def test_page_of_a_change_that_cannot_be_undone_says_why(
    operator: Client, flag: FeatureFlag
) -> None:
    version = set_rollout(KEY, 80).version
    set_rollout(KEY, 90)
    for number in (version, 9_999_999):
        response = operator.get(undo_url(flag, number), follow=True)
        [message] = messages_of(response)
        assert message.startswith("Not undone: ")
        assert response.redirect_chain == [(flag_url(flag, "history"), 302)]
    set_rollout(KEY, 25)
    response = operator.get(undo_url(flag, version), follow=True)
    assert messages_of(response) == [
        "Nothing was changed: “new_checkout” already has these values."
    ]
    assert response.redirect_chain == [(flag_url(flag, "history"), 302)]


# When the button asks.


@pytest.mark.parametrize("typed", ["", "banner"], ids=["other", "production"])
def test_undo_of_a_creation_asks_to_delete(typed: str, operator: Client, settings: Any) -> None:
    if typed:
        production(settings)
    version = create("banner").version
    url = flag_url(FeatureFlag.objects.get(), "history")
    response = operator.post(url, {"_undo": version})
    assert (notes_of(response), text_to_type(response)) == (["“banner” will be deleted."], typed)
    if typed:
        response = operator.post(url, confirmed(response, _typed_key="x"))
    assert FeatureFlag.objects.exists()
    response = operator.post(url, confirmed(response, _typed_key=typed), follow=True)
    assert messages_of(response) == ["“banner” was deleted."]
    assert response.redirect_chain == [(FLAGS, 302)]
    assert not FeatureFlag.objects.exists()


def test_undo_over_a_newer_change_is_a_conflict_and_counts_the_users_once(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []

    def count(key: str, *_states: object, **_options: object) -> None:
        counted.append(key)
        raise FlagstaffError("the users could not be counted within the timeout")

    version = set_rollout(KEY, 5).version
    url = undo_url(flag, version)
    data = confirmed(operator.get(url))
    update(KEY, {"description": "One"})
    response = operator.post(url, data | {"_reason": "too low"})
    assert problems_of(response)[0].startswith("Not saved: new_checkout has version")
    assert asks(response)
    assert state(flag) == (True, 5)
    monkeypatch.setattr("flagstaff.changes.planned.impact_of_change", count)
    operator.post(url, confirmed(response))
    assert state(flag) == (True, 25)
    assert flag_history(KEY)[0].reason == "too low"
    assert counted == [KEY]


def test_confirmed_undo_that_needs_no_page_asks_again_after_a_newer_change(
    operator: Client, flag: FeatureFlag
) -> None:
    # Without its version, the button alone would undo it at once.
    version = set_rollout(KEY, 80).version
    url = undo_url(flag, version)
    data = confirmed(operator.get(url), _reason="too high")
    update(KEY, {"description": "One"})
    response = operator.post(url, data)
    assert problems_of(response)[0].startswith("Not saved: new_checkout has version")
    assert state(flag) == (True, 80)
    operator.post(url, confirmed(response))
    assert (state(flag), flag_history(KEY)[0].reason) == ((True, 25), "too high")


def test_message_about_allowed_users_says_no_false_number(
    operator: Client, flag: FeatureFlag
) -> None:
    version, url = flag_version(KEY), flag_url(flag, "history")
    alice = User.objects.create(username="alice")
    add_allowed_users(KEY, alice)
    removed = remove_allowed_users(KEY, alice).version
    response = post_confirmed(operator, url, {"_undo": removed}, follow=True)
    [message] = messages_of(response)
    assert message.startswith("The change of “new_checkout” was undone: added 1 allowed user")
    assert "No user gains" not in message
    assert list(flag.allowed_users.all()) == [alice]
    set_rollout(KEY, 50)
    response = operator.post(url, {"_restore": version})
    assert notes_of(response) == ["The users cannot be counted."]
    [message] = messages_of(operator.post(url, confirmed(response), follow=True))
    assert "No user gains" not in message
    assert state(flag) == (True, 25)


# Production.


@pytest.mark.parametrize("button", ["_undo", "_restore"])
def test_undo_for_most_users_and_restore_in_production_type_the_key(
    button: str, operator: Client, flag: FeatureFlag, settings: Any
) -> None:
    production(settings)
    FeatureFlag.objects.update(rollout_percent=100)
    before, url = flag_version(KEY), flag_url(flag, "history")
    version = set_rollout(KEY, 5).version
    response = operator.post(url, {button: version if button == "_undo" else before})
    assert text_to_type(response) == KEY
    response = operator.post(url, confirmed(response, _typed_key="x"))
    assert problems_of(response) == ["Not confirmed: type “new_checkout” exactly."]
    assert state(flag) == (True, 5)
    operator.post(url, confirmed(response, _typed_key=KEY))
    assert state(flag) == (True, 100)


# Values.


def test_undo_of_a_value_asks_only_by_its_link(operator: Client) -> None:
    create_value("gateway", "stripe")
    url = f"{VALUES}{KeyValueStore.objects.get().pk}/history/"
    version = set_value("gateway", "paypal").version
    response = operator.get(url, {"undo": str(version)})
    assert preview_of(response) == {"value": ['"paypal"', '"stripe"']}
    operator.post(url, {"_undo": version})
    assert KeyValueStore.objects.get().value == "stripe"


@pytest.mark.parametrize("secret", [False, True])
def test_message_after_a_save_of_a_value_links_to_its_undo_unless_it_is_secret(
    secret: bool, operator: Client
) -> None:
    value = KeyValueStore.objects.create(key="token", value="hunter2", secret=secret)
    data = {"value": '"hunter3"', "description": "", **({"secret": "on"} if secret else {})}
    response = operator.post(f"{VALUES}{value.pk}/change/", data, follow=True)
    url = f"{VALUES}{value.pk}/history/?undo={value_version('token')}"
    assert undo_urls(response) == ([] if secret else [url])
    assert ("hunter" in " ".join(messages_of(response))) is not secret


# An undo that adds allowed users.


# By itself, the undo of 25 → 30 % takes the flag away.
@pytest.mark.parametrize(
    ("count", "percent", "typed"), [(3, 25, ""), (80, 25, KEY), (3, 30, ""), (80, 30, KEY)]
)
def test_undo_that_adds_allowed_users_asks(  # noqa: PLR0913, PLR0917
    count: int, percent: int, typed: str, operator: Client, flag: FeatureFlag, settings: Any
) -> None:
    production(settings)
    pks = list(User.objects.values_list("pk", flat=True)[:count])
    add_allowed_users(KEY, pks)
    with transaction.atomic():
        remove_allowed_users(KEY, pks)
        set_rollout(KEY, percent)
    url = flag_url(flag, "history")
    response = operator.post(url, {"_undo": str(flag_version(KEY))})
    assert asks(response)
    assert text_to_type(response) == typed
    assert flag.allowed_users.count() == 0
    operator.post(url, confirmed(response, _typed_key=typed))
    assert flag.allowed_users.count() == count
    # For a disabled flag, it asks nothing.
    disable(KEY)
    remove_allowed_users(KEY, pks)
    operator.post(url, {"_undo": str(flag_version(KEY))})
    assert flag.allowed_users.count() == count
