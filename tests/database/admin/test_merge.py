"""Two people edit a flag or a value at the same time: the admin merges by field."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from flagstaff import acting_as
from flagstaff.admin.saving import SavingMixin
from flagstaff.changes import (
    add_allowed_users,
    disable,
    set_rollout,
    set_value,
    update,
    update_value,
)
from flagstaff.history import flag_history, flag_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.admin_pages import FLAGS, VALUES, form_data, messages_of, post_confirmed

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def empty_history() -> None:
    """Deletes the entries of other tests: a flush keeps them."""
    Change.objects.all().delete()


@pytest.fixture
def flag() -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=25)


CHANGED_SINCE = (
    "This flag was changed after you opened the page. Nothing was saved. The fields that you have "
    "not edited now show the values in the database."
)


def url(row: Any) -> str:
    base = FLAGS if isinstance(row, FeatureFlag) else VALUES
    return f"{base}{row.pk}/change/"


def opened(client: Client, row: Any) -> dict[str, Any]:
    """Opens the change page and returns the data of its form."""
    return form_data(client.get(url(row)))


def saved(client: Client, row: Any, data: dict[str, Any]) -> Any:
    """Posts the form, confirms, expects that it is saved, and returns the page that follows."""
    response = post_confirmed(client, url(row), data, follow=True)
    assert response.redirect_chain, response.context["adminform"].form.errors
    row.refresh_from_db()
    return response


def rejected(client: Client, row: Any, data: dict[str, Any]) -> Any:
    """Posts the form, expects errors, and returns the page that shows them."""
    response = client.post(url(row), data)
    assert response.status_code == 200
    return response


def errors_of(response: Any) -> dict[str, list[str]]:
    return dict(response.context["adminform"].form.errors)


def elsewhere(statement: str) -> None:
    """Runs a statement in a session of its own."""
    session = connection.copy()
    try:
        with session.cursor() as cursor:
            cursor.execute(statement)
    finally:
        session.close()


def changed_fields(key: str) -> list[str]:
    return [one.field for one in flag_history(key)[0].differences]


def make_users(*names: str) -> list[User]:
    return [User.objects.create(username=name) for name in names]


def test_save_of_description_keeps_killed_flag_disabled(
    operator: Client, flag: FeatureFlag
) -> None:
    data = opened(operator, flag)
    with acting_as("ana"):
        disable("new_checkout")
    response = saved(operator, flag, {**data, "description": "One page"})
    assert (flag.enabled, flag.description) == (False, "One page")
    assert changed_fields("new_checkout") == ["description"]
    assert messages_of(response)[0] == (
        "Changes that others made while this page was open were kept: ana: enabled true → false."
    )


def test_save_without_edit_writes_nothing(operator: Client, flag: FeatureFlag) -> None:
    data = opened(operator, flag)
    disable("new_checkout")
    version = flag_version("new_checkout")
    saved(operator, flag, data)
    assert flag_version("new_checkout") == version


def test_conflict_shows_both_values_and_author(operator: Client, flag: FeatureFlag) -> None:
    data = opened(operator, flag)
    with acting_as("ana"):
        update("new_checkout", {"rollout_percent": 80, "enabled": False})
    response = rejected(operator, flag, {**data, "rollout_percent": 50, "description": "One page"})
    assert errors_of(response) == {
        "rollout_percent": [
            "Yours: 50. Now in the database: 80, changed by ana. Save again to write your value."
        ],
        "__all__": [
            CHANGED_SINCE,
        ],
    }
    shown = form_data(response)
    assert "enabled" not in shown
    assert (shown["rollout_percent"], shown["description"]) == ("50", "One page")
    flag.refresh_from_db()
    assert (flag.rollout_percent, flag.description) == (80, "")


def test_second_save_after_conflict_writes_only_edited_fields(
    operator: Client, flag: FeatureFlag
) -> None:
    data = opened(operator, flag)
    update("new_checkout", {"rollout_percent": 80, "enabled": False})
    response = rejected(operator, flag, {**data, "rollout_percent": 50, "description": "One page"})
    saved(operator, flag, form_data(response))
    assert (flag.enabled, flag.rollout_percent, flag.description) == (False, 50, "One page")
    assert changed_fields("new_checkout") == ["rollout_percent", "description"]


def test_newer_change_after_conflict_is_a_conflict_again(
    operator: Client, flag: FeatureFlag
) -> None:
    data = opened(operator, flag)
    set_rollout("new_checkout", 80)
    response = rejected(operator, flag, {**data, "rollout_percent": 50})
    set_rollout("new_checkout", 90)
    again = rejected(operator, flag, form_data(response))
    assert "Now in the database: 90" in errors_of(again)["rollout_percent"][0]


def test_same_edit_by_two_people_is_no_conflict(operator: Client, flag: FeatureFlag) -> None:
    data = opened(operator, flag)
    set_rollout("new_checkout", 50)
    saved(operator, flag, {**data, "rollout_percent": 50, "description": "One page"})
    assert changed_fields("new_checkout") == ["description"]


def test_invalid_field_that_was_changed_since_shows_conflict(
    operator: Client, flag: FeatureFlag
) -> None:
    data = opened(operator, flag)
    update("new_checkout", {"rollout_percent": 80, "enabled": False})
    response = rejected(operator, flag, {**data, "rollout_percent": "many"})
    [invalid, conflict] = errors_of(response)["rollout_percent"]
    assert invalid == "Enter a whole number."
    assert "Now in the database: 80" in conflict
    assert "enabled" not in form_data(response)


def test_invalid_form_shows_present_values_of_other_fields(
    operator: Client, flag: FeatureFlag
) -> None:
    data = opened(operator, flag)
    disable("new_checkout")
    response = rejected(operator, flag, {**data, "rollout_percent": 101})
    assert "enabled" not in form_data(response)
    saved(operator, flag, {**form_data(response), "rollout_percent": 50})
    assert (flag.enabled, flag.rollout_percent) == (False, 50)


def test_change_between_read_and_write_is_merged(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page has read the row, and another change comes before the lock."""
    data = opened(operator, flag)
    write, late = SavingMixin._update, [80]

    def set_rollout_first(*args: Any) -> Any:
        while late:
            elsewhere(f"UPDATE flagstaff_featureflag SET rollout_percent = {late.pop()}")
        return write(*args)

    monkeypatch.setattr(SavingMixin, "_update", set_rollout_first)
    response = rejected(operator, flag, {**data, "rollout_percent": 50, "_confirmed": "1"})
    assert "Now in the database: 80" in errors_of(response)["rollout_percent"][0]


def test_conflict_is_found_without_history(operator: Client, flag: FeatureFlag) -> None:
    data = opened(operator, flag)
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE flagstaff_featureflag DISABLE TRIGGER flagstaff_history_update_v1"
        )
        try:
            set_rollout("new_checkout", 80)
            response = rejected(operator, flag, {**data, "rollout_percent": 50})
            [error] = errors_of(response)["rollout_percent"]
            assert error == "Yours: 50. Now in the database: 80. Save again to write your value."
            saved(operator, flag, form_data(response))
        finally:
            cursor.execute(
                "ALTER TABLE flagstaff_featureflag ENABLE TRIGGER flagstaff_history_update_v1"
            )
    assert flag.rollout_percent == 50


def test_lines_and_spaces_of_unedited_text_are_no_edit(operator: Client, flag: FeatureFlag) -> None:
    update("new_checkout", {"description": "one\ntwo "})
    data = opened(operator, flag)
    posted = {**data, "description": "one\r\ntwo ", "rollout_percent": 50}
    saved(operator, flag, posted)
    assert changed_fields("new_checkout") == ["rollout_percent"]
    assert flag.description == "one\ntwo "


def test_save_keeps_allowed_users_that_were_added_since(
    operator: Client, flag: FeatureFlag
) -> None:
    [alice] = make_users("alice")
    data = opened(operator, flag)
    add_allowed_users("new_checkout", alice)
    saved(operator, flag, {**data, "rollout_percent": 50})
    assert list(flag.allowed_users.all()) == [alice]


@pytest.mark.parametrize("shown", ["[]", "{", '{"fields": 1}', '{"fields": {"enabled": {}}}'])
def test_unreadable_record_of_shown_fields_is_rejected(
    shown: str, operator: Client, flag: FeatureFlag
) -> None:
    data = {**opened(operator, flag), "rollout_percent": 50, "_shown": shown}
    assert errors_of(rejected(operator, flag, data)) == {
        "_shown": ["This form cannot be read. Open the page again."]
    }
    flag.refresh_from_db()
    assert flag.rollout_percent == 25


def test_value_description_keeps_newer_value(operator: Client) -> None:
    row = KeyValueStore.objects.create(key="gateway", value={"a": 1, "b": True})
    data = opened(operator, row)
    set_value("gateway", "paypal")
    saved(operator, row, {**data, "description": "Who takes the money"})
    assert (row.value, row.description) == ("paypal", "Who takes the money")


def test_value_conflict_shows_both_as_json(operator: Client) -> None:
    row = KeyValueStore.objects.create(key="gateway", value="stripe")
    data = opened(operator, row)
    with acting_as("ana"):
        set_value("gateway", ["paypal"] * 1000)
    response = rejected(operator, row, {**data, "value": '"adyen"'})
    [error] = errors_of(response)["value"]
    assert error.startswith('Yours: "adyen". Now in the database: ["paypal", "paypal",')
    assert len(error) < 400
    # The present value is a list, so the string has another type.
    saved(operator, row, {**form_data(response), "_new_type": "string"})
    assert row.value == "adyen"


def test_secret_value_is_masked_in_conflict(operator: Client) -> None:
    row = KeyValueStore.objects.create(key="token", value="hunter1", secret=True)
    data = opened(operator, row)
    update_value("token", {"value": "hunter2"})
    response = rejected(operator, row, {**data, "value": '"hunter3"'})
    [error] = errors_of(response)["value"]
    assert error.startswith("Yours: ••••••. Now in the database: ••••••, changed by")
    assert "hunter2" not in unescape(response.content.decode())
