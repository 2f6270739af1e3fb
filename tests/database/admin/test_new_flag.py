"""The page that adds a flag: the focus, and the link that fills the form in for staff."""

from __future__ import annotations

import pytest
from django.test import Client

from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, confirmed, form_data, page, shown_form, staff

pytestmark = pytest.mark.django_db

ADD = f"{FLAGS}add/"
FOR_STAFF = f"{ADD}?who=staff"


def test_key_has_the_focus_on_the_page_that_adds_a_flag(operator: Client) -> None:
    [key] = [one for one in page(operator, ADD).split("<input") if 'name="key"' in one]
    assert "autofocus" in key.split(">")[0]


def test_link_fills_in_an_enabled_flag_with_a_rule_for_staff(operator: Client) -> None:
    assert 'href="?who=staff"' in page(operator, ADD)
    response = operator.get(FOR_STAFF)
    assert "Filled in for staff" in response.content.decode()
    asked = operator.post(ADD, shown_form(response) | {"key": "new_search", "rollout_percent": "0"})
    operator.post(ADD, confirmed(asked))
    flag = FeatureFlag.objects.get()
    assert (flag.enabled, flag.rollout_percent) == (True, 0)
    assert flag.rules == [
        {"conditions": [{"attribute": "is_staff", "operator": "in", "values": [True]}]}
    ]


def test_link_is_not_shown_to_users_who_may_only_add_flags() -> None:
    assert "who=staff" not in page(staff("add_featureflag", "view_featureflag"), ADD)


def test_parameter_does_not_change_the_form_of_an_existing_flag(
    operator: Client, flag: FeatureFlag
) -> None:
    shown = form_data(operator.get(f"{FLAGS}{flag.pk}/change/?who=staff"))
    assert shown["rollout_percent"] == 25
    assert not [name for name in shown if name.startswith("rules-0")]


def test_page_that_is_filled_in_shows_the_rule_unfolded(operator: Client) -> None:
    assert "collapse" in page(operator, ADD).partition("Targeting")[0]
    before, _title, after = page(operator, FOR_STAFF).partition("Targeting")
    assert ("collapse" in before, "collapse" in after) == (False, True)
