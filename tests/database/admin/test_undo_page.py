"""The page of an undo: of one change, with its effect on the users."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.utils.html import strip_tags

from flagstaff import acting_as
from flagstaff.changes import (
    add_allowed_users,
    create,
    delete,
    disable,
    remove_allowed_users,
    set_rollout,
    update,
)
from flagstaff.exceptions import FlagstaffError
from flagstaff.history import flag_history, flag_version, value_version
from flagstaff.history.kinds import Kind
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
    preview_of,
    problems_of,
    production,
    restore_url,
    staff,
    state,
    text_to_type,
    undo,
    undo_url,
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


def after_of(response: Any) -> list[str]:
    """Returns what each row of the page will be."""
    cells = re.findall(
        r'data-label="After the undo">(.*?)</td>', response.content.decode(), re.DOTALL
    )
    return [unescape(" ".join(strip_tags(cell).split())) for cell in cells]


# The link.


def test_link_of_a_kill_leads_to_its_undo_and_that_to_its_own(
    operator: Client, flag: FeatureFlag
) -> None:
    [url] = undo_urls(kill(operator, flag))
    assert url == undo_url(flag_version(KEY))
    response = operator.get(url)
    assert "Undo this change of “new_checkout”?" in response.content.decode()
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


def test_undo_that_gives_the_flag_to_users_says_to_how_many(
    operator: Client, flag: FeatureFlag
) -> None:
    url = undo_url(set_rollout(KEY, 0).version)
    response = operator.post(url, {"_reason": "too low"})
    assert asks(response)
    assert after_of(response) == ["rollout 0 → 25 %"]
    [note] = notes_of(response)
    assert re.fullmatch(
        r"0 → 25 %: \d+ users gain the flag\. Afterwards \d+ of 100 users have it\.", note
    )
    assert state(flag) == (True, 0)
    data = confirmed(response)
    assert data["_reason"] == ["too low"]
    [message] = messages_of(operator.post(url, data, follow=True))
    assert note in message
    assert state(flag) == (True, 25)
    assert flag_history(KEY)[0].reason == "too low"


def test_page_writes_nothing_before_it_is_confirmed(operator: Client, flag: FeatureFlag) -> None:
    version = set_rollout(KEY, 80).version
    entries = Change.objects.count()
    assert asks(operator.get(undo_url(version)))
    assert asks(operator.post(undo_url(version)))
    assert (Change.objects.count(), flag_version(KEY)) == (entries, version)
    undo(operator, version)
    assert state(flag) == (True, 25)


def test_conflict_says_what_was_changed_again_and_links_to_the_state_before(
    operator: Client, flag: FeatureFlag
) -> None:
    before, version = flag_version(KEY), set_rollout(KEY, 80).version
    with acting_as("ana"):
        set_rollout(KEY, 70)
    response = operator.get(undo_url(version))
    assert not asks(response)
    [text] = after_of(response)
    assert re.fullmatch(
        r"cannot be undone: ana changed new_checkout again at .*: rollout 80 → 70 % "
        "Restore the state before this change…",
        text,
    )
    url = restore_url(flag_url(flag, "history"), before)
    assert f'href="{url}"' in response.content.decode()
    assert preview_of(operator.get(url)) == {"rollout": ["70 %", "25 %"]}
    toggler = staff("toggle_featureflag")
    assert "?restore=" not in toggler.get(undo_url(version)).content.decode()


# Deletions.


@pytest.mark.parametrize("typed", ["", "banner"], ids=["other", "production"])
def test_undo_of_a_creation_asks_to_delete(typed: str, operator: Client, settings: Any) -> None:
    if typed:
        production(settings)
    url = undo_url(create("banner").version)
    response = operator.get(url)
    assert (notes_of(response), text_to_type(response)) == (["This deletes “banner”."], typed)
    if typed:
        response = operator.post(url, confirmed(response, _typed_key="x"))
    assert FeatureFlag.objects.exists()
    response = operator.post(url, confirmed(response, _typed_key=typed), follow=True)
    assert messages_of(response) == ["“banner” was deleted."]
    assert response.redirect_chain == [(FLAGS, 302)]
    assert not FeatureFlag.objects.exists()


# Changes after the page was shown.


def test_change_after_the_page_is_a_conflict_that_asks_again_and_counts_the_users_once(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []

    def count(_found: object, keys: list[tuple[Kind, str]], _deadline: float) -> None:
        counted.extend(key for _kind, key in keys)
        raise FlagstaffError("the time limit was reached")

    url = undo_url(set_rollout(KEY, 5).version)
    data = confirmed(operator.get(url))
    with acting_as("ana"):
        update(KEY, {"description": "One"})
    response = operator.post(url, data | {"_reason": "too low"})
    [problem] = problems_of(response)
    assert re.fullmatch(
        r"Not saved: new_checkout was changed since the undo was shown: ana .*: "
        r'description "" → "One"\. The page now shows the present state; press the button again\.',
        problem,
    )
    assert asks(response)
    assert state(flag) == (True, 5)
    monkeypatch.setattr("flagstaff.changes.impact._count", count)
    operator.post(url, confirmed(response))
    assert state(flag) == (True, 25)
    assert flag_history(KEY)[0].reason == "too low"
    assert counted == [KEY]


def test_key_that_becomes_free_after_the_page_refuses_the_undo_that_was_shown(
    operator: Client, flag: FeatureFlag
) -> None:
    create("banner")
    deletion = delete("banner").version
    taker = create("banner")
    version = set_rollout(KEY, 80).version
    url = undo_url(deletion, version)
    data = confirmed(operator.get(url))
    assert data["undo"] == [str(version)]
    delete(taker.key)
    response = operator.post(url, data)
    [problem] = problems_of(response)
    assert problem.startswith("Not saved: the undo would do something else than was shown")
    assert (state(flag), FeatureFlag.objects.count()) == ((True, 80), 1)


def test_message_about_allowed_users_says_no_false_number(
    operator: Client, flag: FeatureFlag
) -> None:
    version, url = flag_version(KEY), flag_url(flag, "history")
    alice = User.objects.create(username="alice")
    add_allowed_users(KEY, alice)
    [message] = messages_of(undo(operator, remove_allowed_users(KEY, alice).version))
    assert message.startswith("The change of “new_checkout” was undone: added 1 allowed user")
    assert "No user gains" not in message
    assert list(flag.allowed_users.all()) == [alice]
    set_rollout(KEY, 50)
    url = restore_url(url, version)
    response = operator.get(url)
    assert notes_of(response)[0].startswith("50 → 25 %: ")
    [message] = messages_of(operator.post(url, confirmed(response), follow=True))
    assert "No user gains" not in message
    assert state(flag) == (True, 25)


# Production.


@pytest.mark.parametrize("page", ["undo", "restore"])
def test_undo_for_most_users_and_restore_in_production_type_the_key(
    page: str, operator: Client, flag: FeatureFlag, settings: Any
) -> None:
    production(settings)
    FeatureFlag.objects.update(rollout_percent=100)
    before = flag_version(KEY)
    version = set_rollout(KEY, 5).version
    url = undo_url(version)
    if page == "restore":
        url = restore_url(flag_url(flag, "history"), before)
    response = operator.get(url)
    assert text_to_type(response) == KEY
    response = operator.post(url, confirmed(response, _typed_key="x"))
    assert problems_of(response) == ["Not confirmed: type “new_checkout” exactly."]
    assert state(flag) == (True, 5)
    operator.post(url, confirmed(response, _typed_key=KEY))
    assert state(flag) == (True, 100)


# Values.


@pytest.mark.parametrize("secret", [False, True])
def test_message_after_a_save_of_a_value_links_to_its_undo_unless_it_is_secret(
    secret: bool, operator: Client
) -> None:
    value = KeyValueStore.objects.create(key="token", value="hunter2", secret=secret)
    data = {"value": '"hunter3"', "description": "", **({"secret": "on"} if secret else {})}
    url = f"{VALUES}{value.pk}/change/"
    response = operator.post(url, confirmed(operator.post(url, data)), follow=True)
    assert undo_urls(response) == ([] if secret else [undo_url(value_version("token"))])
    assert ("hunter" in " ".join(messages_of(response))) is not secret


# An undo that adds allowed users.


# By itself, the undo of 25 → 30 % takes the flag away.
@pytest.mark.parametrize(
    ("count", "percent", "typed"), [(3, 25, ""), (80, 25, KEY), (3, 30, ""), (80, 30, KEY)]
)
def test_undo_that_adds_allowed_users_to_most_users_types_the_key(  # noqa: PLR0913, PLR0917
    count: int, percent: int, typed: str, operator: Client, flag: FeatureFlag, settings: Any
) -> None:
    production(settings)
    pks = list(User.objects.values_list("pk", flat=True)[:count])
    add_allowed_users(KEY, pks)
    with transaction.atomic():
        remove_allowed_users(KEY, pks)
        set_rollout(KEY, percent)
    url = undo_url(flag_version(KEY))
    response = operator.get(url)
    assert text_to_type(response) == typed
    operator.post(url, confirmed(response, _typed_key=typed))
    assert flag.allowed_users.count() == count
    # For a disabled flag, nothing is typed.
    disable(KEY)
    remove_allowed_users(KEY, pks)
    undo(operator, flag_version(KEY))
    assert flag.allowed_users.count() == count


# Rows that the database refuses.


def test_undo_of_several_changes_leaves_out_a_row_that_the_database_refuses(
    operator: Client, flag: FeatureFlag
) -> None:
    create("banner")
    versions = update("banner", {"key": "poster"}).version, set_rollout(KEY, 80).version
    create("banner")
    response = undo(operator, *versions)
    assert messages_of(response)[0].startswith(f"The change of “{KEY}” was undone")
    assert state(flag) == (True, 25)
    assert FeatureFlag.objects.filter(key="poster").exists()
