"""The rules of a flag in the admin: sentences and JSON, form errors, the list, confirmations."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from flagstaff.validators import condition_problem, rule_problem, value_rule_problem
from tests.support.admin_pages import (
    FLAGS,
    SEGMENTS,
    VALUES,
    act,
    column,
    flag_url,
    kill,
    page,
    permit,
    preview_of,
    typed,
)
from tests.support.screen import Screen
from tests.support.shop import STAFF
from tests.support.sql import rows as execute

COUNTRY = {"attribute": "country", "operator": "in", "values": ["DE", "AT"]}
RULES: list[dict[str, Any]] = [
    {"name": "team", "conditions": [STAFF]},
    {"conditions": [COUNTRY, {"segment": "enterprise"}], "rollout_percent": 25},
]


@pytest.fixture
def flag(enterprise: Segment) -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout", rollout_percent=10, rules=RULES)


def test_page_shows_saved_rules_as_sentences(viewer: Client, flag: FeatureFlag) -> None:
    assert Screen(page(viewer, flag_url(flag))).part(".flagstaff-steps").rows[1:-1] == [
        ["team is_staff is true", "100 %"],
        ['Rule 2 country is "DE" or "AT" and in segment "enterprise"', "25 %"],
    ]


def test_segment_is_a_link_for_users_who_may_view_segments_or_marked_as_missing(
    operator: Client, viewer: Client, flag: FeatureFlag, enterprise: Segment
) -> None:
    link = f'Segments: <a href="{SEGMENTS}{enterprise.pk}/change/">enterprise</a>'
    assert "Segments: enterprise</p>" in page(viewer, flag_url(flag))
    permit(User.objects.get(username="staff"), "view_segment")
    assert link in page(viewer, flag_url(flag))
    # The ORM refuses to delete a segment in use.
    execute("DELETE FROM flagstaff_segment")
    assert "Segments: enterprise (does not exist)" in page(viewer, flag_url(flag))


def test_names_and_values_are_escaped_and_many_values_counted(
    viewer: Client, flag: FeatureFlag
) -> None:
    odd = {"attribute": "<i>", "operator": "<u>", "values": ["<b>"], "negate": True}
    FeatureFlag.objects.update(
        rules=[{"name": "<s>", "conditions": [odd, {"segment": "<a>"}], "rollout_percent": "<p>"}]
    )
    html = page(viewer, flag_url(flag))
    assert not Screen(html).part(".flagstaff-steps").all("i, u, b, s, p")
    assert Screen(html).part(".flagstaff-steps").rows[1:-1] == [
        ['<s> not (<i> <u> "<b>") and in segment "<a>"', "<p> %"]
    ]
    FeatureFlag.objects.update(rules=[{"conditions": [{**COUNTRY, "values": [*range(1_000)]}]}])
    [[sentence, _share]] = Screen(page(viewer, flag_url(flag))).part(".flagstaff-steps").rows[1:-1]
    assert sentence.endswith(" or 18 or 19 or 980 more")


@pytest.mark.parametrize("rows", [{"rules-rows": "1"}, {"rules": "[]"}])
def test_all_rules_are_removed(rows: dict[str, str], operator: Client, flag: FeatureFlag) -> None:
    url = flag_url(flag, "rules")
    shown = {name: text for name, text in typed(operator, url).items() if "rules" not in name}
    assert operator.post(url, shown | rows).status_code == 302
    flag.refresh_from_db()
    assert flag.rules == []


def test_page_that_asks_shows_the_rules_that_differ(operator: Client, flag: FeatureFlag) -> None:
    FeatureFlag.objects.update(enabled=True)
    url, (team, country) = flag_url(flag, "rules"), flag.rules
    fields = {name: text for name, text in typed(operator, url).items() if "rules" not in name}
    rules = [team, {**country, "rollout_percent": 30}]
    response = operator.post(url, {**fields, "rules": json.dumps(rules), "_confirmed": ""})
    now, after = preview_of(response)["changed rule"]
    assert now.startswith("rule 2: 25 % if country")
    assert after.startswith("rule 2: 30 % if country")


def test_page_that_asks_says_that_there_is_no_rule_now_or_afterwards(
    operator: Client, flag: FeatureFlag
) -> None:
    url, rules = flag_url(flag, "rules"), flag.rules[:1]
    edit = {"_edit": "preview"}

    def lines(rules: list[Any]) -> dict[str, list[str]]:
        edited = typed(operator, url, rules=json.dumps(rules)) | edit
        return preview_of(operator.post(url, edited))

    FeatureFlag.objects.update(rules=rules)
    assert lines([])["removed rule"] == ['"team": 100 % if is_staff is true', "no rule"]
    FeatureFlag.objects.update(rules=[])
    assert lines(rules)["added rule"] == ["no rule", '"team": 100 % if is_staff is true']


def test_page_that_asks_shows_a_rule_and_the_other_one_at_its_place_in_one_line(
    operator: Client, flag: FeatureFlag
) -> None:
    url, (team, country) = flag_url(flag, "rules"), flag.rules
    in_germany = {"conditions": [{"attribute": "country", "operator": "in", "values": ["DE"]}]}

    def lines(*rules: Any) -> dict[str, list[str]]:
        edited = typed(operator, url, rules=json.dumps(rules)) | {"_edit": "preview"}
        return preview_of(operator.post(url, edited))

    FeatureFlag.objects.update(rules=[team])
    other = 'rule 1: 100 % if country is "DE"'
    assert lines(in_germany)["changed rule"] == ['"team": 100 % if is_staff is true', other]
    FeatureFlag.objects.update(rules=[team, country])
    assert lines(country, team)["moved rule"][1].startswith("moved to place 1: ")


@pytest.mark.parametrize("rules", [{"x": "<b>"}, "", {}, 0])
def test_unreadable_rules_are_named_and_stay_when_the_flag_is_disabled(
    rules: object, operator: Client, flag: FeatureFlag
) -> None:
    FeatureFlag.objects.update(enabled=True)
    FeatureFlag.objects.update(rules=rules)
    targeting = Screen(page(operator, flag_url(flag))).section("Targeting")
    assert f"Workers cannot read this: {rule_problem(rules)}." in targeting.text
    assert json.dumps(rules) in targeting.texts("span")
    kill(operator, flag)
    flag.refresh_from_db()
    assert (flag.enabled, flag.rules) == (False, rules)


@pytest.mark.parametrize(
    ("pages", "column_of_list", "name", "problem_of", "good"),
    [
        (FLAGS, "state", "rules", rule_problem, RULES),
        (VALUES, "shown_value", "rules", value_rule_problem, [{**RULES[0], "value": "x"}]),
        (SEGMENTS, "short_conditions", "conditions", condition_problem, [STAFF]),
    ],
)
def test_unreadable_json_is_named_and_can_be_replaced(  # noqa: PLR0913, PLR0917
    pages: str,
    column_of_list: str,
    name: str,
    problem_of: Callable[[object], str | None],
    good: list[Any],
    operator: Client,
    flag: FeatureFlag,
) -> None:
    KeyValueStore.objects.create(key="gateway", value="stripe")
    model: Any = {FLAGS: FeatureFlag, VALUES: KeyValueStore, SEGMENTS: Segment}[pages]
    execute(f"UPDATE {model._meta.db_table} SET {name} = '{{\"x\": 1}}'")
    url = f"{pages}{model.objects.get().pk}"
    assert f"Workers cannot read this: {problem_of({'x': 1})}." in page(operator, f"{url}/change/")
    [shown] = column(page(operator, pages), column_of_list)
    assert f"unreadable {name}" in shown
    assert json.loads(typed(operator, f"{url}/{name}/")[name]) == {"x": 1}
    act(operator, f"{url}/{name}/", **{name: json.dumps(good)})
    assert getattr(model.objects.get(), name) == good
