"""Two people edit a flag or a value at the same time: the admin merges by field."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from flagstaff import acting_as, changes
from flagstaff.admin.row_admin import RowAdmin
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, VALUES, form_data, messages_of, post_confirmed
from tests.support.history import flag_history
from tests.support.history_fixtures import disabled_triggers

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)


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


def test_save_of_description_keeps_killed_flag_disabled(
    operator: Client, flag: FeatureFlag
) -> None:
    data = opened(operator, flag)
    with acting_as("ana"):
        changes.flags.disable("new_checkout")
    version = flag_version("new_checkout")
    saved(operator, flag, data)
    assert flag_version("new_checkout") == version
    response = saved(operator, flag, {**data, "description": "One page"})
    assert (flag.enabled, flag.description) == (False, "One page")
    assert changed_fields("new_checkout") == ["description"]
    assert messages_of(response)[-2] == (
        "Changes that others made while this page was open were kept: ana: turned off."
    )


def test_conflict_shows_both_values_and_author_and_the_next_save_writes_the_edits(
    operator: Client, flag: FeatureFlag
) -> None:
    data = opened(operator, flag)
    with acting_as("ana"):
        changes.flags.update("new_checkout", {"rollout_percent": 80, "enabled": False})
    response = rejected(operator, flag, {**data, "rollout_percent": 50, "description": "One page"})
    text = "Yours: 50 %. Now in the database: 80 %, changed by ana. Save again to write your value."
    assert errors_of(response) == {"rollout_percent": [text], "__all__": [CHANGED_SINCE]}
    shown = form_data(response)
    assert "enabled" not in shown
    assert (shown["rollout_percent"], shown["description"]) == ("50", "One page")
    flag.refresh_from_db()
    assert (flag.rollout_percent, flag.description) == (80, "")
    # A newer change is a conflict again.
    changes.flags.set_rollout("new_checkout", 90)
    response = rejected(operator, flag, shown)
    assert "Now in the database: 90" in errors_of(response)["rollout_percent"][0]
    saved(operator, flag, form_data(response))
    assert (flag.enabled, flag.rollout_percent, flag.description) == (False, 50, "One page")
    assert changed_fields("new_checkout") == ["rollout_percent", "description"]


def test_invalid_form_shows_present_values_and_conflicts(
    operator: Client, flag: FeatureFlag
) -> None:
    data = opened(operator, flag)
    changes.flags.disable("new_checkout")
    response = rejected(operator, flag, {**data, "rollout_percent": 101})
    assert "enabled" not in form_data(response)
    assert list(errors_of(response)) == ["rollout_percent"]
    saved(operator, flag, {**form_data(response), "rollout_percent": 50})
    assert (flag.enabled, flag.rollout_percent) == (False, 50)
    # The same edit of another person is no conflict.
    saved(operator, flag, {**data, "rollout_percent": 50, "description": "One page"})
    assert changed_fields("new_checkout") == ["description"]
    response = rejected(operator, flag, {**data, "rollout_percent": "many"})
    [invalid, conflict] = errors_of(response)["rollout_percent"]
    assert invalid == "Enter a whole number."
    assert "Now in the database: 50" in conflict


def test_change_between_read_and_write_is_merged(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page has read the row, and another change comes before the lock."""
    data = opened(operator, flag)
    write, late = RowAdmin._update, [80]

    def set_rollout_first(*args: Any) -> Any:
        while late:
            elsewhere(f"UPDATE flagstaff_featureflag SET rollout_percent = {late.pop()}")
        return write(*args)

    monkeypatch.setattr(RowAdmin, "_update", set_rollout_first)
    response = rejected(operator, flag, {**data, "rollout_percent": 50, "_confirmed": "1"})
    assert "Now in the database: 80" in errors_of(response)["rollout_percent"][0]


def test_conflict_is_found_without_history(operator: Client, flag: FeatureFlag) -> None:
    data = opened(operator, flag)
    with disabled_triggers():
        changes.flags.set_rollout("new_checkout", 80)
        response = rejected(operator, flag, {**data, "rollout_percent": 50})
        [error] = errors_of(response)["rollout_percent"]
        assert error == "Yours: 50 %. Now in the database: 80 %. Save again to write your value."
        saved(operator, flag, form_data(response))
    assert flag.rollout_percent == 50


def test_save_keeps_unedited_text_and_allowed_users_that_were_added_since(
    operator: Client, flag: FeatureFlag
) -> None:
    changes.flags.update("new_checkout", {"description": "one\ntwo "})
    data = opened(operator, flag)
    alice = User.objects.create(username="alice")
    changes.flags.allow("new_checkout", alice)
    saved(operator, flag, {**data, "description": "one\r\ntwo ", "rollout_percent": 50})
    assert changed_fields("new_checkout") == ["rollout_percent"]
    assert flag.description == "one\ntwo "
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
