"""The actions for the flags that the list has selected."""

from functools import partial
from typing import Any

import pytest
from django.contrib.admin import site
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import changes
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    answer,
    confirmed,
    messages_of,
    notes_of,
    page,
    preview_of,
    problems_of,
    production,
    staff,
    text_to_type,
    undo_urls,
)
from tests.support.history import flag_history
from tests.support.screen import Screen
from tests.support.sql import statements_of

ACTIONS = ["kill", "on", "off", "rollout", "release", "details", "delete"]


@pytest.fixture(autouse=True)
def flags() -> None:
    """Two flags that are on, and one that is off."""
    for key, enabled in (("a", True), ("b", True), ("c", False)):
        FeatureFlag.objects.create(key=key, enabled=enabled, rollout_percent=100, tags=[key])


def select(client: Client, name: str, *keys: str, **data: Any) -> Any:
    """Selects flags in the list, and an action."""
    chosen = FeatureFlag.objects.filter(key__in=keys) if keys else FeatureFlag.objects.all()
    pks = [str(pk) for pk in chosen.values_list("pk", flat=True)]
    posted = {"action": name, "index": "0", "_selected_action": pks, **data}
    return client.post(FLAGS, posted)


def enabled() -> dict[str, bool]:
    return dict(FeatureFlag.objects.order_by("key").values_list("key", "enabled"))


def test_kill_of_several_asks_nothing_and_is_one_undo(
    operator: Client, settings: Any, reason_required: None
) -> None:
    User.objects.bulk_create(User(username=f"u{number}") for number in range(3))
    production(settings, REQUIRE_REASON=True)
    shown = select(operator, "kill")
    killed = ["on for all → off", "4 of 4", "0 of 4"]
    assert preview_of(shown) == {"a": killed, "b": killed, "c": ["off", *["\N{EN DASH}"] * 2]}
    assert notes_of(shown)[0] == "2 of 3 are on. 4 different users lose a flag."
    assert "Kill 3 flags" in shown.content.decode()
    assert text_to_type(shown) == ""
    response = answer(operator, shown)
    assert enabled() == {"a": False, "b": False, "c": False}
    assert messages_of(response)[:2] == [
        "Nothing was changed: “c” already has these values.",
        "“a”, “b” were changed.",
    ]
    assert LogEntry.objects.filter(action_flag=CHANGE).count() == 2
    [url] = undo_urls(response)
    operator.post(url, confirmed(operator.get(url), _reason="back", _typed_key="Production"))
    assert enabled() == {"a": True, "b": True, "c": False}


def test_selection_is_shown_before_it_is_written(operator: Client) -> None:
    shown = select(operator, "on", "c")
    assert enabled()["c"] is False
    assert preview_of(shown)["state"] == ["off", "on"]
    assert answer(operator, shown).redirect_chain == [(FLAGS, 302)]
    assert enabled()["c"] is True


def test_most_users_of_several_flags_type_the_environment(operator: Client, settings: Any) -> None:
    changes.flags.disable("a")
    production(settings)
    shown = select(operator, "on", "a", "c")
    assert text_to_type(shown) == "Production"
    assert problems_of(answer(operator, shown, _typed_key="Prod")) == [
        "Not confirmed: type “Production” exactly."
    ]
    answer(operator, shown, _typed_key="Production")
    assert enabled() == {"a": True, "b": True, "c": True}


def test_one_percentage_is_given_to_all(operator: Client) -> None:
    shown = select(operator, "rollout")
    again = answer(operator, shown, percent="50")
    assert preview_of(again).keys() == {"a", "b", "c"}
    answer(operator, again, percent="50")
    assert {flag.rollout_percent for flag in FeatureFlag.objects.all()} == {50}
    versions = {flag_history(key)[0].transaction_id for key in "abc"}
    assert len(versions) == 1


def test_details_write_only_what_was_edited(operator: Client) -> None:
    shown = select(operator, "details", "a", "b")
    answer(operator, shown, owner="payments", add_tags="q3, mobile", remove_tags="a")
    stored = FeatureFlag.objects.order_by("key").values_list("key", "owner", "tags")
    assert [*stored] == [
        ("a", "payments", ["q3", "mobile"]),
        ("b", "payments", ["b", "q3", "mobile"]),
        ("c", "", ["c"]),
    ]


def test_newer_change_asks_again(operator: Client) -> None:
    shown = select(operator, "on")
    changes.flags.set_rollout("c", 5)
    response = answer(operator, shown)
    assert "“c” has changed since the page was shown." in problems_of(response)[0]
    changes.flags.delete("a")
    response = answer(operator, shown)
    assert problems_of(response) == ["Some of what you selected no longer exists."]
    assert enabled() == {"b": True, "c": False}


def test_deletion_of_several_types_the_environment_and_is_undone(
    operator: Client, settings: Any, unused: None
) -> None:
    production(settings)
    shown = select(operator, "delete", "a", "b")
    assert text_to_type(shown) == "Production"
    response = answer(operator, shown, _typed_key="Production")
    assert enabled() == {"c": False}
    assert messages_of(response)[0] == "“a”, “b” were deleted."
    assert LogEntry.objects.filter(action_flag=DELETION).count() == 2
    [url] = undo_urls(response)
    operator.post(url, confirmed(operator.get(url), _typed_key="Production"))
    assert enabled() == {"a": True, "b": True, "c": False}


@pytest.mark.parametrize(
    ("permissions", "names"),
    [
        (("view",), []),
        (("toggle",), ["kill", "on", "off", "rollout"]),
        (("view", "change"), ["kill", "on", "off", "rollout", "release", "details"]),
        # Users have two of the flags.
        (("view", "delete"), []),
    ],
)
def test_actions_need_their_permission(permissions: tuple[str, ...], names: list[str]) -> None:
    client = staff(*(f"{permission}_featureflag" for permission in permissions))
    for name in ACTIONS:
        shown = select(client, name).content.decode()
        assert ("flagstaff-question" in shown) is (name in names)
    assert enabled() == {"a": True, "b": True, "c": False}


def test_flags_that_the_user_may_not_change_are_named(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_admin: Any = site.get_model_admin(FeatureFlag)
    monkeypatch.setattr(
        model_admin,
        "has_toggle_permission",
        lambda _request, obj=None: obj is None or obj.key != "b",
    )
    response = operator.get(select(operator, "kill").url)
    assert messages_of(response) == ["Nothing was changed: you may not change “b”."]


def test_hidden_flags_are_not_part_of_a_selection(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_admin: Any = site.get_model_admin(FeatureFlag)
    every = model_admin.get_queryset
    monkeypatch.setattr(
        model_admin, "get_queryset", lambda request: every(request).exclude(key="b")
    )
    answer(operator, select(operator, "kill"))
    assert enabled() == {"a": False, "b": True, "c": False}


def test_list_offers_the_actions_for_many_unless_it_is_read_only(
    operator: Client, settings: Any
) -> None:
    menu = "select[name=action] option"
    names = Screen(page(operator)).attributes(menu, "value")
    assert [name for name in names if name] == ACTIONS
    # Both turn flags off, so that their words say how they differ.
    texts = Screen(page(operator)).texts(menu)
    assert {"Kill: off at once", "Turn off: now or scheduled"} <= {*texts}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "READ_ONLY": True}
    assert "action" not in Screen(page(operator)).fields()
    select(operator, "kill")
    assert enabled()["a"] is True


def test_too_many_flags_are_refused(operator: Client) -> None:
    FeatureFlag.objects.bulk_create([FeatureFlag(key=f"f{number}") for number in range(101)])
    response = select(operator, "kill", select_across="1", follow=True)
    assert "select at most 100" in messages_of(operator.get(response.url))[0]


def test_page_takes_few_queries_for_each_flag(operator: Client) -> None:
    User.objects.create_user("alice")
    every = [FeatureFlag(key=f"f{number:02}", rollout_percent=5) for number in range(50)]
    FeatureFlag.objects.bulk_create(every)
    assert len(statements_of(partial(select, operator, "on"))) <= 30 + 50 * 4
