"""More rules, conditions or values than workers accept: the text again, and one error."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from flagstaff.models import KeyValueStore
from tests.support.rule_rows import browser_form, rows, url_of, without

pytestmark = pytest.mark.django_db

# It can never match, so each one that is looked at has an error of its own.
IMPOSSIBLE = {"attribute": "is_staff", "operator": "in", "values": ["yes"]}
RULE = {"conditions": [IMPOSSIBLE]}


def test_form_over_a_limit_shows_the_text_and_one_error(operator: Client) -> None:
    typed, problem = [{**RULE, "value": 2}] * 101, "101 rules are too many; use at most 100"
    row = KeyValueStore.objects.create(key="page_size", value=1)
    text = json.dumps(typed)
    data = without(browser_form(operator, row), "rules-") | {"rules": text}
    response = operator.post(url_of(row), data)
    form = response.context["adminform"].form
    [error] = form.errors["rules"]
    assert error.startswith(problem)
    assert form["rules"].value() == text
    assert rows(response.content.decode()) == {}
