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
    enable,
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
    page,
    post_confirmed,
    preview_of,
    problems_of,
    production,
    save_flag,
    staff,
    text_to_type,
    undo_urls,
)

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)

KEY = "new_checkout"
USERS = 100


@pytest.fixture(autouse=True)
def empty_history() -> None:
    """Deletes the entries of other tests: a flush keeps them."""
    Change.objects.all().delete()


@pytest.fixture
def flag(operator: Client) -> FeatureFlag:
    User.objects.bulk_create([User(username=f"user{number}") for number in range(USERS - 1)])
    return FeatureFlag.objects.create(key=KEY, enabled=True, rollout_percent=25)


def undo_url(flag: FeatureFlag, version: int | None) -> str:
    return f"{flag_url(flag, 'history')}?undo={version}"


def state(flag: FeatureFlag) -> tuple[bool, int]:
    flag.refresh_from_db()
    return flag.enabled, flag.rollout_percent


# The link.


def test_link_of_a_kill_leads_to_its_undo(operator: Client, flag: FeatureFlag) -> None:
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


def test_message_of_an_undo_links_to_its_own_undo(operator: Client, flag: FeatureFlag) -> None:
    save_flag(operator, flag, rollout_percent=5)
    response = operator.post(
        flag_url(flag, "history"), {"_undo": flag_version(KEY), "_confirmed": "1"}, follow=True
    )
    *_others, url = undo_urls(response)
    operator.post(url, confirmed(operator.get(url)))
    assert state(flag) == (True, 5)


def test_page_says_how_many_users_gain_the_flag(operator: Client, flag: FeatureFlag) -> None:
    version = set_rollout(KEY, 0).version
    response = operator.get(undo_url(flag, version))
    assert preview_of(response) == {"rollout_percent": ["0", "25"]}
    [note] = notes_of(response)
    assert re.fullmatch(
        r"0 → 25 %: \d+ users gain the flag\. Afterwards \d+ of 100 users have it\.", note
    )
    response = operator.post(undo_url(flag, version), confirmed(response), follow=True)
    [message] = messages_of(response)
    assert note in message


def test_page_of_a_narrowing_undo_is_there_although_the_button_asks_nothing(
    operator: Client, flag: FeatureFlag
) -> None:
    version = set_rollout(KEY, 80).version
    assert asks(operator.get(undo_url(flag, version)))
    assert state(flag) == (True, 80)
    assert not asks(operator.post(flag_url(flag, "history"), {"_undo": version}))
    assert state(flag) == (True, 25)


def test_page_writes_nothing(operator: Client, flag: FeatureFlag) -> None:
    version = set_rollout(KEY, 80).version
    entries = Change.objects.count()
    for _time in range(2):
        operator.get(undo_url(flag, version))
    assert (Change.objects.count(), flag_version(KEY)) == (entries, version)


def test_page_of_an_undone_change_says_so(operator: Client, flag: FeatureFlag) -> None:
    version = set_rollout(KEY, 80).version
    set_rollout(KEY, 25)
    response = operator.get(undo_url(flag, version), follow=True)
    assert messages_of(response) == [
        "Nothing was changed: “new_checkout” already has these values."
    ]
    assert response.redirect_chain == [(flag_url(flag, "history"), 302)]


def test_page_of_a_change_that_a_newer_one_replaced_says_why(
    operator: Client, flag: FeatureFlag
) -> None:
    version = set_rollout(KEY, 80).version
    set_rollout(KEY, 90)
    response = operator.get(undo_url(flag, version), follow=True)
    if not asks(response):
        [message] = messages_of(response)
        assert message.startswith("Not undone: ")
        assert response.redirect_chain == [(flag_url(flag, "history"), 302)]
    assert state(flag) == (True, 90)


def test_page_of_an_unknown_change_says_so(operator: Client, flag: FeatureFlag) -> None:
    response = operator.get(undo_url(flag, 9_999_999), follow=True)
    [message] = messages_of(response)
    assert message.startswith("Not undone: ")
    assert response.redirect_chain == [(flag_url(flag, "history"), 302)]


@pytest.mark.parametrize("version", ["", "x", "-1", "9" * 5000])
def test_invalid_version_is_not_found(version: str, operator: Client, flag: FeatureFlag) -> None:
    assert operator.get(flag_url(flag, "history"), {"undo": version}).status_code == 404


def test_page_of_an_old_link_to_a_deleted_flag_redirects(operator: Client) -> None:
    assert operator.get(f"{FLAGS}77/history/?undo=1").status_code == 302


# When the button asks.


@pytest.mark.parametrize("percent", [0, 5])
def test_undo_that_gives_the_flag_to_users_asks(
    percent: int, operator: Client, flag: FeatureFlag
) -> None:
    version = set_rollout(KEY, percent).version
    response = operator.post(flag_url(flag, "history"), {"_undo": version, "_reason": "too low"})
    assert asks(response)
    assert state(flag) == (True, percent)
    data = confirmed(response)
    assert (data["_undo"], data["_reason"]) == ([str(version)], ["too low"])
    operator.post(flag_url(flag, "history"), data)
    assert state(flag) == (True, 25)
    assert flag_history(KEY)[0].reason == "too low"


def test_undo_that_turns_the_flag_on_asks(operator: Client, flag: FeatureFlag) -> None:
    version = disable(KEY).version
    assert asks(operator.post(flag_url(flag, "history"), {"_undo": version}))
    assert state(flag) == (False, 25)


def test_undo_of_turning_on_asks_nothing(operator: Client, flag: FeatureFlag) -> None:
    disable(KEY)
    version = enable(KEY).version
    assert not asks(operator.post(flag_url(flag, "history"), {"_undo": version}))
    assert state(flag) == (False, 25)


@pytest.mark.parametrize("fields", [{"description": "One"}, {"kind": "ops"}])
def test_undo_of_a_change_without_another_result_asks_nothing(
    fields: dict[str, Any], operator: Client, flag: FeatureFlag
) -> None:
    version = update(KEY, fields).version
    assert not asks(operator.post(flag_url(flag, "history"), {"_undo": version}))
    assert flag_version(KEY) != version


def test_undo_for_a_disabled_flag_asks_nothing(operator: Client, flag: FeatureFlag) -> None:
    disable(KEY)
    version = set_rollout(KEY, 0).version
    assert not asks(operator.post(flag_url(flag, "history"), {"_undo": version}))
    assert state(flag) == (False, 25)


def test_undo_of_a_creation_asks_to_delete(operator: Client) -> None:
    version = create("banner").version
    flag = FeatureFlag.objects.get(key="banner")
    response = operator.post(flag_url(flag, "history"), {"_undo": version})
    assert notes_of(response) == ["“banner” will be deleted."]
    assert FeatureFlag.objects.filter(key="banner").exists()
    response = operator.post(flag_url(flag, "history"), confirmed(response), follow=True)
    assert messages_of(response) == ["“banner” was deleted."]
    assert response.redirect_chain == [(FLAGS, 302)]
    assert not FeatureFlag.objects.filter(key="banner").exists()


def test_undo_over_a_newer_change_is_a_conflict(operator: Client, flag: FeatureFlag) -> None:
    version = set_rollout(KEY, 5).version
    url = undo_url(flag, version)
    data = confirmed(operator.get(url))
    disable(KEY)
    response = operator.post(url, data, follow=True)
    assert messages_of(response)[0].startswith("Not saved: new_checkout has version")
    assert asks(response)
    assert state(flag) == (False, 5)


def test_undo_of_removed_users_says_no_false_number(operator: Client, flag: FeatureFlag) -> None:
    alice = User.objects.create(username="alice")
    add_allowed_users(KEY, alice)
    version = remove_allowed_users(KEY, alice).version
    response = post_confirmed(operator, flag_url(flag, "history"), {"_undo": version}, follow=True)
    [message] = messages_of(response)
    assert message.startswith("The change of “new_checkout” was undone: added 1 allowed user")
    assert "No user gains" not in message
    assert list(flag.allowed_users.all()) == [alice]


def test_restore_that_also_removes_users_counts_nobody(operator: Client, flag: FeatureFlag) -> None:
    version = flag_version(KEY)
    add_allowed_users(KEY, User.objects.create(username="alice"))
    set_rollout(KEY, 50)
    url = flag_url(flag, "history")
    response = operator.post(url, {"_restore": version})
    assert notes_of(response) == ["The users cannot be counted."]
    [message] = messages_of(operator.post(url, confirmed(response), follow=True))
    assert "No user gains" not in message
    assert state(flag) == (True, 25)


# Production.


def test_undo_for_most_users_in_production_types_the_key(
    operator: Client, flag: FeatureFlag, settings: Any
) -> None:
    production(settings)
    FeatureFlag.objects.update(rollout_percent=100)
    version = set_rollout(KEY, 5).version
    url = undo_url(flag, version)
    response = operator.get(url)
    assert text_to_type(response) == KEY
    response = operator.post(url, confirmed(response, _typed_key="x"))
    assert problems_of(response) == ["Not confirmed: type “new_checkout” exactly."]
    assert state(flag) == (True, 5)
    operator.post(url, confirmed(response, _typed_key=KEY))
    assert state(flag) == (True, 100)


def test_undo_for_some_users_in_production_types_nothing(
    operator: Client, flag: FeatureFlag, settings: Any
) -> None:
    production(settings)
    version = set_rollout(KEY, 0).version
    response = operator.get(undo_url(flag, version))
    assert text_to_type(response) == ""
    operator.post(undo_url(flag, version), confirmed(response))
    assert state(flag) == (True, 25)


def test_restore_in_production_types_the_key(
    operator: Client, flag: FeatureFlag, settings: Any
) -> None:
    production(settings)
    version = flag_version(KEY)
    set_rollout(KEY, 80)
    url = flag_url(flag, "history")
    response = operator.post(url, {"_restore": version})
    assert text_to_type(response) == KEY
    response = operator.post(url, confirmed(response))
    assert problems_of(response) == ["Not confirmed: type “new_checkout” exactly."]
    assert state(flag) == (True, 80)
    operator.post(url, confirmed(response, _typed_key=KEY))
    assert state(flag) == (True, 25)


def test_undo_of_a_creation_in_production_types_the_key(operator: Client, settings: Any) -> None:
    production(settings)
    version = create("banner").version
    url = flag_url(FeatureFlag.objects.get(), "history")
    response = operator.post(url, {"_undo": version})
    assert text_to_type(response) == "banner"
    response = operator.post(url, confirmed(response, _typed_key="x"))
    assert FeatureFlag.objects.exists()
    operator.post(url, confirmed(response, _typed_key="banner"))
    assert not FeatureFlag.objects.exists()


# Values.


def test_undo_of_a_value_asks_nothing(operator: Client) -> None:
    create_value("gateway", "stripe")
    version = set_value("gateway", "paypal").version
    value = KeyValueStore.objects.get()
    operator.post(f"{VALUES}{value.pk}/history/", {"_undo": version})
    value.refresh_from_db()
    assert value.value == "stripe"


def test_page_of_the_undo_of_a_value_shows_both(operator: Client) -> None:
    create_value("gateway", "stripe")
    version = set_value("gateway", "paypal").version
    url = f"{VALUES}{KeyValueStore.objects.get().pk}/history/?undo={version}"
    response = operator.get(url)
    assert preview_of(response) == {"value": ['"paypal"', '"stripe"']}
    operator.post(url, confirmed(response))
    assert KeyValueStore.objects.get().value == "stripe"


def test_message_after_a_save_of_a_value_links_to_its_undo(operator: Client) -> None:
    create_value("gateway", "stripe")
    value = KeyValueStore.objects.get()
    data = {"value": '"paypal"', "description": ""}
    response = operator.post(f"{VALUES}{value.pk}/change/", data, follow=True)
    url = f"{VALUES}{value.pk}/history/?undo={value_version('gateway')}"
    assert undo_urls(response) == [url]


def test_message_about_a_secret_value_has_no_undo(operator: Client) -> None:
    KeyValueStore.objects.create(key="token", value="hunter2", secret=True)
    value = KeyValueStore.objects.get()
    data = {"value": '"hunter3"', "description": "", "secret": "on"}
    response = operator.post(f"{VALUES}{value.pk}/change/", data, follow=True)
    assert undo_urls(response) == []
    assert "hunter" not in " ".join(messages_of(response))


def test_editor_without_permission_for_users_sees_no_names(flag: FeatureFlag) -> None:
    alice = User.objects.create(username="alice")
    add_allowed_users(KEY, alice)
    version = remove_allowed_users(KEY, alice).version
    html = page(staff("change_featureflag"), undo_url(flag, version))
    assert "alice" not in html


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


def test_undo_that_adds_allowed_users_of_a_disabled_flag_asks_nothing(
    operator: Client, flag: FeatureFlag, settings: Any
) -> None:
    production(settings)
    disable(KEY)
    pks = list(User.objects.values_list("pk", flat=True))
    add_allowed_users(KEY, pks)
    remove_allowed_users(KEY, pks)
    operator.post(flag_url(flag, "history"), {"_undo": str(flag_version(KEY))})
    assert flag.allowed_users.count() == len(pks)


def test_undo_counts_the_users_once(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []

    def count(key: str, *_states: object, **_options: object) -> None:
        counted.append(key)
        raise FlagstaffError("the users could not be counted within the timeout")

    version = set_rollout(KEY, 5).version
    url = undo_url(flag, version)
    data = confirmed(operator.get(url))
    monkeypatch.setattr("flagstaff.admin.planned.impact_of_change", count)
    operator.post(url, data)
    assert state(flag) == (True, 25)
    assert counted == [KEY]
