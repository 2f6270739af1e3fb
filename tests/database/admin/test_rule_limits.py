"""More rules, conditions or values than workers accept: the text again, and one error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from flagstaff.models import FeatureFlag
from tests.support.admin_pages import flag_url, form_data
from tests.support.rule_rows import browser_form, rows, url_of, without

pytestmark = pytest.mark.django_db

# It can never match, so each one that is looked at has an error of its own.
IMPOSSIBLE = {"attribute": "is_staff", "operator": "in", "values": ["yes"]}
RULE = {"conditions": [IMPOSSIBLE]}
TOO_MANY_VALUES = {**IMPOSSIBLE, "values": ["yes"] * 1_001}


@pytest.mark.parametrize(
    ("model", "typed", "problem"),
    [
        (FeatureFlag, [RULE] * 101, "101 rules are too many; use at most 100"),
        (FeatureFlag, [RULE] * 5_000, "the JSON text has more than 256 KiB"),
        (
            FeatureFlag,
            [{"conditions": [IMPOSSIBLE] * 101}],
            "rule 1: 101 conditions are too many; use at most 100",
        ),
        (
            FeatureFlag,
            [{"conditions": [TOO_MANY_VALUES]}],
            "rule 1, condition 1: 1,001 values are too many; use at most 1,000",
        ),
    ],
)
def test_form_over_a_limit_shows_the_text_and_one_error(
    model: type[Any], typed: list[Any], problem: str, operator: Client
) -> None:
    row = model.objects.create(key="new_checkout")
    text = json.dumps(typed)
    data = without(browser_form(operator, row), "rules-") | {"rules": text}
    response = operator.post(url_of(row), data)
    form = response.context["adminform"].form
    [error] = form.errors["rules"]
    assert error.startswith(problem)
    assert form["rules"].value() == text
    assert rows(response.content.decode()) == {}


def too_many_rows(operator: Client, flag: FeatureFlag) -> dict[str, Any]:
    """What a script could post: 101 rules of one condition, as rows."""
    data = form_data(operator.get(url_of(flag)))
    data |= {"rules-rows": "1", "initial-rules": ""}
    for number in range(101):
        data[f"rules-{number}-0-attribute"] = "is_staff"
        data[f"rules-{number}-0-values"] = "yes"
    return without(data, "rules_")


def test_form_with_too_many_rows_shows_json_and_one_error(
    operator: Client, flag: FeatureFlag
) -> None:
    response = operator.post(url_of(flag), too_many_rows(operator, flag))
    form = response.context["adminform"].form
    [error] = form.errors["rules"]
    assert error.startswith("101 rules are too many; use at most 100")
    assert json.loads(form["rules"].value()) == [RULE] * 101
    assert rows(response.content.decode()) == {}


def test_view_of_marks_with_too_many_rows_returns_none(operator: Client, flag: FeatureFlag) -> None:
    found = operator.post(flag_url(flag, "impact"), too_many_rows(operator, flag)).json()
    assert found["marks"] == {}
