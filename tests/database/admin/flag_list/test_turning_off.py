"""The bulk action of the list that turns flags off."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from flagstaff import changes
from flagstaff.exceptions import FlagstaffError
from flagstaff.history import flag_history
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, messages_of, page, staff

pytestmark = pytest.mark.django_db


@pytest.fixture
def flags() -> list[FeatureFlag]:
    """Two flags that are on, and one that is off."""
    return [FeatureFlag.objects.create(key=key, enabled=key != "c") for key in "abc"]


def turn_off(client: Client, flags: Iterable[FeatureFlag], **data: str) -> Any:
    """Posts the action, as the list or its confirmation page does."""
    pks = [str(flag.pk) for flag in flags]
    return client.post(FLAGS, {"action": "turn_off", "_selected_action": pks, **data}, follow=True)


def enabled() -> list[str]:
    """Returns the keys of the flags that are on."""
    return list(FeatureFlag.objects.filter(enabled=True).values_list("key", flat=True))


def test_action_asks_with_the_states_now_and_after(
    admin_client: Client, flags: list[FeatureFlag]
) -> None:
    html = turn_off(admin_client, flags).content.decode()
    rows = re.findall(
        r'<th scope="row">(\w)</th>\s*<td[^>]*>([^<]*)</td>\s*<td[^>]*>([^<]*)<', html
    )
    assert rows == [
        ("a", "on for no users", "off"),
        ("b", "on for no users", "off"),
        ("c", "off", "already off"),
    ]
    assert "Turn off 2 flags?" in html
    assert enabled() == ["a", "b"]


def test_confirmed_action_turns_flags_off_with_the_reason(
    admin_client: Client, flags: list[FeatureFlag]
) -> None:
    response = turn_off(admin_client, flags, _confirmed="1", _reason="an incident")
    done, already = messages_of(response)
    assert done.startswith("2 flags are now off: a, b.")
    assert already == "1 flag was already off: c."
    assert enabled() == []
    events = [flag_history(key)[0] for key in "ab"]
    assert {(event.reason, event.source) for event in events} == {("an incident", "admin")}
    assert len({event.transaction_id for event in events}) == 1
    assert LogEntry.objects.count() == 2


def test_page_posts_what_the_list_has_posted(
    admin_client: Client, flags: list[FeatureFlag]
) -> None:
    html = turn_off(admin_client, flags[:1]).content.decode()
    posted = dict(re.findall(r'<input type="hidden" name="(\w+)" value="(\w*)"', html))
    posted.pop("csrfmiddlewaretoken", None)
    admin_client.post(FLAGS, posted)
    assert enabled() == ["b"]


def test_action_returns_to_the_same_list(admin_client: Client, flags: list[FeatureFlag]) -> None:
    data = {"action": "turn_off", "_selected_action": [str(flags[0].pk)], "_confirmed": "1"}
    response = admin_client.post(f"{FLAGS}?q=a", data)
    assert response.headers["location"] == f"{FLAGS}?q=a"


def test_flags_that_are_all_off_need_no_confirmation(
    admin_client: Client, flags: list[FeatureFlag]
) -> None:
    response = turn_off(admin_client, flags[2:])
    assert messages_of(response) == ["Nothing was changed: all selected flags are already off."]


def test_too_many_flags_are_refused(admin_client: Client) -> None:
    FeatureFlag.objects.bulk_create(FeatureFlag(key=f"f{n}", enabled=True) for n in range(101))
    response = turn_off(admin_client, FeatureFlag.objects.all(), select_across="1")
    assert messages_of(response) == ["Nothing was changed: select at most 100 flags."]


def test_failure_changes_no_flag(
    admin_client: Client, flags: list[FeatureFlag], monkeypatch: pytest.MonkeyPatch
) -> None:
    disable = changes.disable

    def fail_at_b(key: str) -> changes.Changed:
        if key == "b":
            raise FlagstaffError("b is refused")
        return disable(key)

    monkeypatch.setattr(changes, "disable", fail_at_b)
    response = turn_off(admin_client, flags, _confirmed="1")
    assert messages_of(response) == ["Not saved: b is refused"]
    assert enabled() == ["a", "b"]


def test_action_needs_the_permission_to_toggle(flags: list[FeatureFlag]) -> None:
    viewer = staff("view_featureflag")
    assert 'value="turn_off"' not in page(viewer)
    turn_off(viewer, flags, _confirmed="1")
    assert enabled() == ["a", "b"]


def test_user_who_may_only_toggle_turns_flags_off(flags: list[FeatureFlag]) -> None:
    operator = staff("toggle_featureflag")
    assert 'value="delete_selected"' not in page(operator)
    turn_off(operator, flags, _confirmed="1")
    assert enabled() == []


def test_number_is_typed_in_production(
    admin_client: Client, flags: list[FeatureFlag], settings: Any
) -> None:
    environment = {"name": "Live", "color": "red", "production": True}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ENVIRONMENT": environment}
    html = turn_off(admin_client, flags, _confirmed="1", _typed_key="3").content.decode()
    assert "Not confirmed: type “2” exactly." in html
    assert enabled() == ["a", "b"]
    turn_off(admin_client, flags, _confirmed="1", _typed_key="2")
    assert enabled() == []


def test_read_only_pages_have_no_action(
    admin_client: Client, flags: list[FeatureFlag], settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "READ_ONLY": True}
    turn_off(admin_client, flags, _confirmed="1")
    assert enabled() == ["a", "b"]
