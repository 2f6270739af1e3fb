"""The editor of rules without a script: rows, buttons that do not save, problems at their rows."""

from __future__ import annotations

import json
import re
from html import unescape
from random import Random
from typing import Any

import pytest
from django.test import Client

from flagstaff import changes
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag, Segment
from flagstaff.validators import rule_problem
from tests.conformance.random_rules import random_flags
from tests.conformance.rules_oracle import exact_json
from tests.support.admin_pages import FLAGS, page
from tests.support.form_inputs import inputs_of
from tests.support.repeats import repeats
from tests.support.rule_rows import browser_form, edit, problems, rows, save, url_of, without

pytestmark = pytest.mark.django_db

COUNTRY = {"attribute": "country", "operator": "in", "values": ["DE", "AT"]}
RULES: list[dict[str, Any]] = [
    {"name": "team", "conditions": [{"attribute": "is_staff", "operator": "in", "values": [True]}]},
    {"conditions": [COUNTRY, {"segment": "enterprise", "negate": True}], "rollout_percent": 25},
]
ROWS = {
    "rules-rows": "1",
    "rules-0-name": "team",
    "rules-0-percent": "",
    "rules-0-0-attribute": "is_staff",
    "rules-0-0-operator": "in",
    "rules-0-0-values": "true",
    "rules-1-name": "",
    "rules-1-percent": "25",
    "rules-1-0-attribute": "country",
    "rules-1-0-operator": "in",
    "rules-1-0-values": "DE, AT",
    "rules-1-1-negate": "1",
    "rules-1-1-segment": "enterprise",
}


@pytest.fixture
def flag(enterprise: Segment) -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout", rollout_percent=10, rules=RULES)


def press(client: Client, flag: FeatureFlag, button: str, **rows: str) -> str:
    """Presses a button of the editor, which saves nothing, and returns the page."""
    version = flag_version(flag.key)
    data = browser_form(client, flag, **rows) | {"_rule_edit": button}
    response = client.post(url_of(flag), data)
    assert response.status_code == 200
    assert response.context["adminform"].form.errors == {}
    assert flag_version(flag.key) == version
    return response.content.decode()


# What the page shows.


def test_page_has_an_input_for_each_part_and_offers_attributes_and_segments(
    operator: Client, flag: FeatureFlag
) -> None:
    Segment.objects.create(key="beta", conditions=[COUNTRY])
    html = page(operator, url_of(flag))
    assert rows(html) == ROWS
    assert '<textarea name="rules"' not in html
    [known] = re.findall(r'<datalist id="id_rules_attributes">(.*?)</datalist>', html)
    assert {"is_staff", "groups", "visitor"} <= set(re.findall(r'value="([^"]*)"', known))
    assert '<option value="beta">beta</option>' in html
    odd = {"attribute": '"><i>', "operator": "in", "values": ["</textarea><b>"]}
    changes.flags.update("new_checkout", {"rules": [{"name": '"><s>', "conditions": [odd]}]})
    html = page(operator, url_of(flag))
    assert not re.search("<[isb]>", html)
    assert rows(html)["rules-0-0-values"] == "</textarea><b>"


def test_inputs_and_buttons_have_unique_names_and_ids(operator: Client, flag: FeatureFlag) -> None:
    html = re.sub(r"<template.*?</template>", "", page(operator, url_of(flag)), flags=re.DOTALL)
    controls = re.findall(r'<(?:input|select|textarea|button)\b[^>]*name="rules-[^>]*>', html)
    controls += re.findall(r'<button[^>]*value="(?:up|down|remove|add-c|add-s)[^>]*>', html)
    visible = [one for one in controls if 'type="hidden"' not in one]
    labels = [re.findall(r'aria-label="([^"]*)"', one) for one in visible]
    assert all(len(label) == 1 for label in labels)
    assert len({label for [label] in labels}) == len(labels) == 33
    assert ["Rule 2, condition 1: values"] in labels
    ids = re.findall(r'\sid="([^"]*)"', html)
    assert sorted(ids) == sorted(set(ids))


def test_new_flag_has_no_rows_and_is_created_with_rows(
    operator: Client, enterprise: Segment
) -> None:
    html = page(operator, f"{FLAGS}add/")
    assert rows(html) == {"rules-rows": "1"}
    assert "No rules: the rollout decides." in html
    data = {"key": "a", "rollout_percent": 0, "kind": "release", **ROWS}
    assert operator.post(f"{FLAGS}add/", data).status_code == 302
    assert FeatureFlag.objects.get().rules == RULES


def test_rules_that_rows_cannot_show_are_json(operator: Client, flag: FeatureFlag) -> None:
    for rules in ({"x": 1}, [{"conditions": [COUNTRY] * 50}] * 3):
        FeatureFlag.objects.update(rules=rules)
        html = page(operator, url_of(flag))
        assert '<textarea name="rules"' in html
        assert rows(html) == {}
    for text in ("[{", '{"x": 1}', '[{"conditions": []}]'):
        html = unescape(edit(operator, flag, {"rules": text}, "rows"))
        assert "Rows cannot show this JSON" in html
        assert f"\n{text}</textarea>" in html


# Saving.


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(repeats(5, 1)))
def test_random_rules_are_unedited_by_their_page(
    seed: int, operator: Client, flag: FeatureFlag
) -> None:
    segments = {key for one in random_flags(Random(seed), 1) for key in one.segments}
    for key in {*segments, "gone"}:
        Segment.objects.get_or_create(key=key, defaults={"conditions": [COUNTRY]})
    for random_flag in random_flags(Random(seed), 12):
        rules = json.loads(exact_json(random_flag.rules))
        if rule_problem(rules):
            continue
        # By SQL, because some of the values never match.
        FeatureFlag.objects.update(rules=rules)
        version = flag_version("new_checkout")
        data = browser_form(operator, flag)
        assert "rules-0-name" in data
        save(operator, flag, data)
        assert flag_version("new_checkout") == version


def test_edited_inputs_are_saved(operator: Client, flag: FeatureFlag) -> None:
    edited = {
        "rules_0_name": "staff",
        "rules_0_percent": "50",
        "rules_0_0_operator": "isnull:false",
        "rules_0_0_values": "ignored",
        "rules_1_0_operator": "startswith",
        "rules_1_0_values": "D\r\nA",
        "rules_1_0_negate": "1",
    }
    save(operator, flag, browser_form(operator, flag, **edited))
    present = {"attribute": "is_staff", "operator": "isnull", "values": [False]}
    country = {**COUNTRY, "operator": "startswith", "values": ["D", "A"], "negate": True}
    assert flag.rules == [
        {"name": "staff", "conditions": [present], "rollout_percent": 50},
        {**RULES[1], "conditions": [country, RULES[1]["conditions"][1]]},
    ]


def test_rules_are_saved_in_the_order_of_the_page(operator: Client, flag: FeatureFlag) -> None:
    """A script moves the rows and leaves their names."""
    data = browser_form(operator, flag)
    first = {name: data.pop(name) for name in [*data] if name.startswith("rules-0")}
    save(operator, flag, data | first)
    assert flag.rules == [RULES[1], RULES[0]]
    data = without(browser_form(operator, flag), "rules-")
    save(operator, flag, data | {"rules-rows": "1"})
    assert flag.rules == []


# Buttons, which save nothing.


def test_rule_is_added_with_an_empty_condition(operator: Client, flag: FeatureFlag) -> None:
    html = press(operator, flag, "add-rule")
    new = dict.fromkeys(("name", "percent", "0-attribute", "0-operator", "0-values"), "")
    new["0-operator"] = "in"
    assert rows(html) == ROWS | {f"rules-2-{name}": value for name, value in new.items()}
    [focused] = re.findall(r"<[^>]*\sautofocus[^>]*>", press(operator, flag, "add-segment:0"))
    assert 'name="rules-0-1-segment"' in focused


def test_button_keeps_what_was_typed_in_all_fields(operator: Client, flag: FeatureFlag) -> None:
    data = browser_form(operator, flag, rules_0_0_values='"open')
    data |= {"description": "typed", "rollout_percent": "x", "_rule_edit": "add-condition:0"}
    response = operator.post(url_of(flag), data)
    form = response.context["adminform"].form
    assert (form["description"].value(), form["rollout_percent"].value()) == ("typed", "x")
    assert rows(response.content.decode())["rules-0-0-values"] == '"open'
    assert rows(response.content.decode())["rules-0-1-attribute"] == ""
    assert problems(response.content.decode()) == []


@pytest.mark.parametrize(
    ("buttons", "inputs"),
    [
        # Of a rule, the first input is its name.
        (("up:1", "down:0"), {"rules-0-name": "", "rules-1-name": "team"}),
        (("up:0", "down:1", "up:7", "nonsense"), {"rules-0-name": "team", "rules-1-name": ""}),
        (("remove:0",), {"rules-0-name": ""}),
        (("up:1-1", "down:1-0"), {"rules-1-0-segment": "enterprise", "rules-1-1-values": "DE, AT"}),
        (("remove:1-0",), {"rules-1-0-segment": "enterprise"}),
    ],
)
def test_rules_and_conditions_are_moved_and_removed(
    buttons: tuple[str, ...], inputs: dict[str, str], operator: Client, flag: FeatureFlag
) -> None:
    for button in buttons:
        found = rows(press(operator, flag, button))
        assert inputs.items() <= found.items()
        assert len(found) == len(ROWS) - REMOVED.get(button, 0)


#: How many inputs a button removes.
REMOVED = {"remove:0": 5, "remove:1-0": 3}


def test_edits_of_buttons_are_saved_by_the_next_page_or_are_a_conflict(
    operator: Client, flag: FeatureFlag
) -> None:
    data = browser_form(operator, flag, rules_0_name="mine")
    moved = rows(edit(operator, flag, data, "up:1"))
    removed = rows(edit(operator, flag, data | moved, "remove:1"))
    changes.flags.update("new_checkout", {"rules": []})
    edit(operator, flag, data, "add-rule")
    response = operator.post(url_of(flag), data)
    assert "Now in the database: no rules" in response.context["adminform"].form.errors["rules"][0]
    assert rows(response.content.decode())["rules-0-name"] == "mine"
    save(operator, flag, without(browser_form(operator, flag), "rules-") | removed)
    assert flag.rules == [RULES[1]]


def test_page_with_the_most_rows_can_be_posted_and_gets_no_more(
    operator: Client, flag: FeatureFlag
) -> None:
    rules = [{"name": "n", "conditions": [{**COUNTRY, "negate": False}]}] * 60
    changes.flags.update("new_checkout", {"rules": rules})
    html = press(operator, flag, "add-rule")
    assert "The form has its maximum number of rows." in html
    assert "rules-60-name" not in rows(html)
    save(operator, flag, browser_form(operator, flag, rules_0_name="m"))
    assert flag.rules[0]["name"] == "m"


def test_rows_are_kept_on_way_back_from_a_confirmation(operator: Client, flag: FeatureFlag) -> None:
    changes.flags.enable("new_checkout")
    data = browser_form(operator, flag, rules_1_percent="50")
    asked = operator.post(url_of(flag), data).content.decode()
    assert inputs_of(asked, "rules-") == ROWS | {"rules-1-percent": "50"}
    back = operator.post(url_of(flag), inputs_of(asked, "") | {"_edit": "1"})
    assert rows(back.content.decode()) == ROWS | {"rules-1-percent": "50"}
    flag.refresh_from_db()
    assert flag.rules == RULES


# JSON and back.


def test_rows_become_json_with_an_example_and_rows_again(
    operator: Client, flag: FeatureFlag
) -> None:
    html = press(operator, flag, "json", rules_0_name="typed")
    [example] = re.findall(r"<pre[^>]*>(.*?)</pre>", html, re.DOTALL)
    assert rule_problem(json.loads(unescape(example))) is None
    text = inputs_of(html, "rules")["rules"]
    assert json.loads(text) == [{**RULES[0], "name": "typed"}, RULES[1]]
    html = edit(operator, flag, {"rules": text}, "rows")
    assert rows(html) == ROWS | {"rules-0-name": "typed"}
    # Incomplete rows keep what was typed.
    typed = {"rules_0_percent": "half", "rules_1_0_values": '"open'}
    html = unescape(press(operator, flag, "json", **typed))
    assert '"rollout_percent": "half"' in html
    assert r'"values": ["\"open"]' in html


# Problems.


@pytest.mark.parametrize(
    ("inputs", "place", "text"),
    [
        ({"rules_1_percent": "101"}, "1-percent", "Write a whole number from 0 to 100"),
        ({"rules_1_percent": "x"}, "1-percent", "Write a whole number from 0 to 100"),
        ({"rules_0_name": "x" * 101}, "0-name", '"name" must have 1 to 100 characters'),
        ({"rules_1_0_attribute": ""}, "1-0-attribute", "Write the name of an attribute."),
        ({"rules_1_0_attribute": "x" * 101}, "1-0-attribute", '"attribute" must have 1 to 100'),
        ({"rules_1_0_values": " , "}, "1-0-values", "Write at least one value."),
        ({"rules_1_0_values": '"DE'}, "1-0-values", "A quotation mark is not closed"),
        ({"rules_1_0_operator": "version_lt"}, "1-0-values", "Value 1: the text is not a version"),
        ({"rules_1_0_operator": "regex", "rules_1_0_values": "["}, "1-0-values", "Value 1: "),
        ({"rules_1_0_operator": "odd"}, "1-0-values", 'The operator "odd" is not known'),
        ({"rules_1_1_segment": ""}, "1-1-segment", "Choose a segment."),
        ({"rules_1_1_segment": "gone"}, "1-1-segment", "This segment does not exist."),
    ],
)
def test_problem_stands_at_its_input(
    inputs: dict[str, str], place: str, text: str, operator: Client, flag: FeatureFlag
) -> None:
    response = operator.post(url_of(flag), browser_form(operator, flag, **inputs))
    html = response.content.decode()
    [(name, problem)] = problems(html)
    assert name == f"id_rules-{place}-problem"
    assert problem.startswith(text)
    [described] = re.findall(rf'<[^>]*aria-describedby="{name}"[^>]*>', html)
    assert 'aria-invalid="true"' in described
    assert len(response.context["adminform"].form.errors["rules"]) == 1
    typed = {key.replace("_", "-"): value for key, value in inputs.items()}
    assert typed.items() <= rows(html).items()


def test_all_problems_are_shown_and_counted(operator: Client, flag: FeatureFlag) -> None:
    data = browser_form(operator, flag, rules_0_0_values="", rules_1_percent="200")
    response = operator.post(url_of(flag), data)
    [error] = response.context["adminform"].form.errors["rules"]
    assert error == "Correct the 2 problems that are marked below."
    assert len(problems(response.content.decode())) == 2
    # The error of another field is no problem of a row.
    data = browser_form(operator, flag)
    html = operator.post(url_of(flag), data | {"rollout_percent": "x"}).content.decode()
    assert (problems(html), rows(html)) == ([], ROWS)
    data = without(data, "rules-1-0", "rules-1-1")
    [(_name, text)] = problems(operator.post(url_of(flag), data).content.decode())
    assert text.startswith("This rule has no conditions.")
