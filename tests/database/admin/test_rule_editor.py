"""The editor of rules without a script: rows, buttons that save nothing, problems at their rows."""

import json
import re
from typing import Any

import pytest
from django import forms
from django.contrib.admin import site
from django.contrib.auth.models import Group, User
from django.test import RequestFactory

from flagstaff.admin.rules.editor import MAX_ROWS, RulesField
from flagstaff.admin.rules.forms import Offer, rule_notes
from flagstaff.models import Segment
from flagstaff.validators import condition_problem, rule_problem, value_rule_problem
from tests.support.conditions import condition
from tests.support.screen import Screen

COUNTRY = condition("country", "in", "DE", "AT")
STAFF = condition("is_staff", "in", True)
ENTERPRISE = {"segment": "enterprise", "negate": True}
RULES: list[dict[str, Any]] = [
    {"name": "team", "conditions": [STAFF]},
    {"conditions": [COUNTRY, ENTERPRISE], "rollout_percent": 25},
]
ROWS = {
    "rules-rows": "1",
    "rules-0-name": "team",
    "rules-0-rollout_percent": "",
    "rules-0-0-attribute": "is_staff",
    "rules-0-0-operator": "in",
    "rules-0-0-values": "true",
    "rules-1-name": "",
    "rules-1-rollout_percent": "25",
    "rules-1-0-attribute": "country",
    "rules-1-0-operator": "in",
    "rules-1-0-values": "DE, AT",
    "rules-1-1-negate": "on",
    "rules-1-1-segment": "enterprise",
}
OTHERS = [
    {"conditions": [COUNTRY], "value": "b"},
    {"conditions": [], "rollout_percent": 25, "value": "c"},
]


class Page:
    """A form with the editor."""

    def __init__(self, stored: object = None, *, user: User | None = None, **options: Any) -> None:
        request = RequestFactory().get("/")
        request.user = user or User(is_superuser=True, is_active=True)
        self.stored, self.request, self.options = stored, request, options

    def form(self, data: dict[str, str] | None = None) -> Any:
        field = RulesField(Offer(site, self.request), required=False, **self.options)
        form: forms.Form = type("One", (forms.Form,), {"rules": field})(
            data, initial={"rules": self.stored}
        )
        return form

    def html(self, data: dict[str, str] | None = None) -> str:
        return str(self.form(data)["rules"])

    def rows(self, data: dict[str, str] | None = None, **edited: str) -> dict[str, str]:
        """What a browser posts after some edits."""
        typed = {f"rules-{name.replace('_', '-', 2)}": text for name, text in edited.items()}
        return Screen(self.html(data)).fields("rules") | typed

    def press(self, button: str, data: dict[str, str] | None = None) -> str:
        """The page after a button."""
        return self.html((data or self.rows()) | {"_edit": button})

    def saved(self, data: dict[str, str]) -> Any:
        form = self.form(data)
        assert form.is_valid(), form.errors
        return form.cleaned_data["rules"]


@pytest.fixture
def page(enterprise: Segment) -> Page:
    return Page(RULES)


@pytest.fixture
def attributes(settings: Any) -> Any:
    """Sets the attributes of the project."""

    def set_attributes(*names: str) -> None:
        settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": [*names]}

    return set_attributes


def problems(html: str) -> dict[str, str]:
    """The problems of the rows, by the id of the list that has them."""
    lists = Screen(html).all("ul.errorlist")
    return {errors["id"] if errors.has("id") else "": errors.text for errors in lists}


def test_page_has_an_input_for_each_part_and_offers_attributes_and_segments(page: Page) -> None:
    Segment.objects.create(key="beta", conditions=[COUNTRY])
    html = page.html()
    assert page.rows() == ROWS
    assert '<textarea name="rules"' not in html
    assert '<option value="is_staff"></option>' in html
    assert '<option value="beta">beta</option>' in html


def test_names_and_values_are_escaped() -> None:
    odd = condition('"><i>', "in", "</textarea><u>")
    page = Page([{"name": '"><s>', "conditions": [odd]}])
    assert not Screen(page.html()).all("i, s, u")
    assert page.rows()["rules-0-0-values"] == "</textarea><u>"


def test_inputs_and_buttons_have_unique_labels_and_ids(page: Page) -> None:
    html = page.html()
    screen = Screen(html)
    visible = screen.all('[name^="rules-"]:not([type=hidden]), [name=_edit]')
    labels = [control["aria-label"] for control in visible if control.has("aria-label")]
    # The last six buttons have a text.
    assert len({*labels}) == len(labels) == len(visible) - 6
    assert "Rule 2, condition 1: values" in labels
    ids = screen.attributes("", "id")
    assert len({*ids}) == len(ids)


@pytest.mark.parametrize(
    "stored",
    [
        {"x": 1},
        [{"conditions": []}],
        [{"conditions": [COUNTRY], "unknown": 1}],
        [{"name": "two\nlines", "conditions": [COUNTRY]}],
        [{"conditions": [{**COUNTRY, "attribute": "a\rb"}]}],
        [{"conditions": [{**COUNTRY, "attribute": " a"}]}],
        [{"conditions": [COUNTRY] * (MAX_ROWS // 2)}] * 2,
    ],
)
def test_rules_that_rows_cannot_show_are_json(stored: object) -> None:
    page = Page(stored)
    [(name, text)] = page.rows().items()
    assert (name, json.loads(text)) == ("rules", stored)
    assert "Rows cannot show this JSON" in page.press("rows")
    assert page.saved(page.rows()) == stored


def test_enter_presses_no_button_of_the_rows(page: Page) -> None:
    """Enter in an input presses the first button of the form."""
    for html in (page.html(), Page({"x": 1}).html()):
        assert not Screen(html).all("button")[0].has("name")


def test_edited_inputs_are_the_json(page: Page) -> None:
    data = page.rows() | {
        "rules-0-name": "staff",
        "rules-0-rollout_percent": "50",
        "rules-0-0-operator": "isnull:false",
        "rules-0-0-values": "ignored",
        "rules-1-0-operator": "startswith",
        "rules-1-0-values": "D\r\nA",
        "rules-1-0-negate": "on",
    }
    present = condition("is_staff", "isnull", False)
    country = condition("country", "startswith", "D", "A", negate=True)
    assert page.saved(data) == [
        {"name": "staff", "conditions": [present], "rollout_percent": 50},
        {**RULES[1], "conditions": [country, ENTERPRISE]},
    ]


def test_rows_in_which_nothing_is_typed_are_left_out(page: Page) -> None:
    data = page.rows()
    for button in ("attribute:0", "segment:0", "attribute", "segment"):
        data = Screen(page.press(button, data)).fields("rules")
    assert len(data) > len(ROWS)
    assert page.saved(data) == RULES


@pytest.mark.parametrize("part", ["name", "rollout_percent"])
def test_rule_with_only_a_name_or_a_percentage_is_refused(part: str, page: Page) -> None:
    data = Screen(page.press("attribute")).fields("rules") | {f"rules-2-{part}": "5"}
    html = page.html(data)
    assert problems(html) == {"id_rules-2-0-attribute_error": "This field is required."}
    assert Screen(html).fields("rules")[f"rules-2-{part}"] == "5"


@pytest.mark.parametrize(
    ("inputs", "place", "text"),
    [
        ({"1-rollout_percent": "101"}, "1-rollout_percent", "Ensure this value is less than"),
        ({"1-rollout_percent": "x"}, "1-rollout_percent", "Enter a whole number."),
        ({"0-name": "x" * 101}, "0-name", "Ensure this value has at most 100 characters"),
        ({"1-0-attribute": ""}, "1-0-attribute", "This field is required."),
        ({"1-0-attribute": "x" * 101}, "1-0-attribute", "Ensure this value has at most 100"),
        ({"1-0-values": " , "}, "1-0-values", "Write at least one value."),
        ({"1-0-values": '"DE'}, "1-0-values", '"DE is not a text in double quotes'),
    ],
)
def test_problem_stands_at_its_input(
    inputs: dict[str, str], place: str, text: str, page: Page
) -> None:
    typed = {f"rules-{name}": value for name, value in inputs.items()}
    form = page.form(page.rows() | typed)
    assert form.errors == {"rules": ["Correct what is marked below."]}
    html = str(form["rules"])
    [(name, problem)] = problems(html).items()
    assert (name, problem[: len(text)]) == (f"id_rules-{place}_error", text)
    screen = Screen(html)
    assert screen.part(f'[aria-describedby="{name}"]')["aria-invalid"] == "true"
    assert typed.items() <= screen.fields("rules").items()


@pytest.mark.parametrize(
    ("button", "added", "inputs", "focus"),
    [
        (
            "attribute",
            5,
            {"rules-2-0-attribute": "", "rules-2-0-operator": "in"},
            "rules-2-0-attribute",
        ),
        ("segment", 3, {"rules-2-0-segment": ""}, "rules-2-0-segment"),
        ("attribute::groups", 5, {"rules-2-0-attribute": "groups"}, "rules-2-0-values"),
        ("attribute:0", 3, {"rules-0-1-attribute": ""}, "rules-0-1-attribute"),
        ("segment:0", 1, {"rules-0-1-segment": ""}, "rules-0-1-segment"),
        ("up:1", 0, {"rules-0-name": "", "rules-1-name": "team"}, "down:0"),
        ("down:0", 0, {"rules-0-name": "", "rules-1-name": "team"}, "up:1"),
        ("remove:0", -5, {"rules-0-name": ""}, "remove:0"),
        ("remove:1-0", -3, {"rules-1-0-segment": "enterprise"}, "remove:1-0"),
    ],
)
def test_button_changes_the_rows_and_gets_the_focus(
    button: str, added: int, inputs: dict[str, str], focus: str, page: Page
) -> None:
    if not re.search(r"\d", button):
        assert f'name="_edit" value="{button}"' in page.html()
    html = page.press(button)
    rows = Screen(html).fields("rules")
    assert inputs.items() <= rows.items()
    assert len(rows) == len(ROWS) + added
    focused = Screen(html).focused
    assert (focused["value"] if focused["name"] == "_edit" else focused["name"]) == focus
    assert problems(html) == {}


@pytest.mark.parametrize(
    "button", ["up:0", "down:1", "up:7", "remove:1-5", "attribute:9", "odd:0", "up:" + "9" * 5_000]
)
def test_button_of_no_row_changes_nothing(button: str, page: Page) -> None:
    assert Screen(page.press(button)).fields("rules") == ROWS


def test_button_keeps_what_is_typed_and_shows_no_problem(page: Page) -> None:
    data = page.rows() | {"rules-0-0-values": '"open', "rules-1-rollout_percent": "x"}
    html = page.press("attribute:0", data)
    assert {**data, "rules-0-1-attribute": ""}.items() <= Screen(html).fields("rules").items()
    assert problems(html) == {}


def test_rows_become_json_with_an_example_and_rows_again(page: Page) -> None:
    html = page.press("json", page.rows() | {"rules-0-name": "typed"})
    text = Screen(html).fields("rules")["rules"]
    assert json.loads(text) == [{**RULES[0], "name": "typed"}, RULES[1]]
    rows = Screen(page.press("rows", {"rules": text})).fields("rules")
    assert rows == ROWS | {"rules-0-name": "typed"}


def test_rows_with_a_problem_do_not_become_json(page: Page) -> None:
    html = page.press("json", page.rows() | {"rules-1-rollout_percent": "half"})
    assert problems(html) == {"id_rules-1-rollout_percent_error": "Enter a whole number."}
    assert Screen(html).fields("rules")["rules-1-rollout_percent"] == "half"


@pytest.mark.parametrize(
    ("options", "problem_of"),
    [
        ({}, rule_problem),
        ({"of_segment": True}, condition_problem),
        ({"of_value": True}, value_rule_problem),
    ],
)
def test_example_can_be_saved(options: dict[str, Any], problem_of: Any) -> None:
    example = Screen(Page({"x": 1}, **options).html()).part("pre")
    assert problem_of(json.loads(example.text)) is None


@pytest.mark.parametrize("text", ["[{", '[{"name": "x",\n  "conditions": oops}]'])
def test_mistake_in_json_names_line_and_column(text: str) -> None:
    [error] = Page().form({"rules": text}).errors["rules"]
    assert re.match(r"not valid JSON \(line \d, column \d+\);", error)


# Attributes that are not known, and values that never match.

HINTS = ".flagstaff-hint > p:first-child"
NOT_KNOWN = (
    "No count includes users who are selected only by “country”, because it is not stored: "
    "only the application knows it and passes it as “context”."
)
A_BOOL = 'it is true or false; use "in" (is one of) with true or false.'
NEVER = f'Value 1 never matches "is_staff": {A_BOOL}'


@pytest.mark.parametrize(
    ("inputs", "mark"),
    [
        ({"attribute": "country", "values": "DE"}, NOT_KNOWN),
        # Also while the values are not typed yet.
        ({"attribute": "country", "values": ""}, NOT_KNOWN),
        (
            {"attribute": "is_staf"},
            f"Did you mean “is_staff”? {NOT_KNOWN.replace('country', 'is_staf')}",
        ),
        ({"values": "yes"}, NEVER),
        ({"values": "true, yes"}, NEVER.replace("1", "2", 1)),
        ({"operator": "contains"}, NEVER),
    ],
)
def test_row_is_marked_while_it_is_edited(inputs: dict[str, str], mark: str) -> None:
    page = Page([{"conditions": [STAFF]}])
    typed = {f"rules-0-0-{name}": text for name, text in inputs.items()}
    shown = Screen(page.press("preview", page.rows() | typed))
    assert [text for text in shown.texts(HINTS) if not text.startswith("common")] == [mark]
    assert typed.items() <= shown.fields("rules").items()


def test_unknown_attribute_may_come_from_the_function(attributes: Any) -> None:
    attributes("shop.flags.attributes")
    known = NOT_KNOWN.removesuffix(".").replace("country", "plan")
    mark = f"{known}, or “shop.flags.attributes” returns it."
    html = Page([{"conditions": [condition("plan", "in", "x")]}]).html()
    assert mark in Screen(html).texts(HINTS)


@pytest.mark.parametrize(
    ("never", "is_refused"),
    [
        (condition("is_active", "in", "trial"), True),
        (condition("country", "regex", "/^DE$/"), False),
        (condition("email", "in", "Anna@example.com"), False),
    ],
)
def test_value_that_never_matches_is_noted_unless_it_is_refused(
    never: dict[str, Any], *, is_refused: bool, attributes: Any
) -> None:
    attributes("is_active", "email")
    assert len(rule_notes([{"conditions": [never]}])) == 1 - is_refused


def test_attributes_of_the_project_are_offered(attributes: Any) -> None:
    attributes("date_joined", "gone", "shop.flags.attributes")
    offered = Screen(Page([]).html()).attributes("datalist option", "value")
    built_in = ["is_authenticated", "is_staff", "is_superuser", "groups", "visitor"]
    assert sorted(offered) == sorted(["date_joined", "gone", *built_in])


def test_bools_choices_of_a_column_and_names_of_groups_are_listed(
    attributes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Group.objects.create(name="beta")
    Group.objects.create(name='berlin, "DE"')
    attributes("last_name")
    choices = [("", "none"), ("pro", "Pro"), ("free", "Free")]
    monkeypatch.setattr(User._meta.get_field("last_name"), "choices", choices)
    names = ("groups", "last_name", "is_staff")
    rules = [{"conditions": [condition(name, "in", "x") for name in names]}]
    lines = [text for text in Screen(Page(rules).html()).texts("p") if "common: " in text]
    assert lines == [r'common: "berlin, \"DE\"", beta', "common: pro, free"]
    # The name of a group may say who is in it.
    editor = User.objects.create(username="editor", is_staff=True)
    assert "beta" not in Page(rules, user=editor).html()


def test_value_of_a_bool_is_a_menu_unless_it_is_something_else() -> None:
    name, menu = "rules-0-0-values", "select[name=rules-0-0-values] option"
    page = Page([{"conditions": [condition("is_staff", "in", False)]}])
    assert Screen(page.html()).texts(menu) == ["yes", "no"]
    assert page.rows()[name] == "false"
    assert page.saved(page.rows() | {"rules-0-0-attribute": "is_active"}) == [
        {"conditions": [condition("is_active", "in", False)]}
    ]
    for others in (condition("is_staff", "in", True, False), condition("country", "in", True)):
        assert not Screen(Page([{"conditions": [others]}]).html()).all(menu)


# The values that rules of a value give.


def test_value_of_a_rule_is_json() -> None:
    for value in (50, "", False, "42", "two\nlines", {"x": 2}):
        rules = [{"conditions": [COUNTRY], "value": value}]
        page = Page(rules, of_value=True)
        assert page.rows()["rules-0-value"] == json.dumps(value)
        # 0 and False are equal in Python.
        assert json.dumps(page.saved(page.rows()), sort_keys=True) == json.dumps(
            rules, sort_keys=True
        )


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("", "the value is missing or null"),
        ("{", "not valid JSON (line 1, column 2)"),
        ("null", "the value is missing or null"),
    ],
)
def test_text_that_is_no_value_has_its_problem_beside_it(typed: str, text: str) -> None:
    page = Page([{"conditions": [COUNTRY], "value": 5}], of_value=True)
    [(name, problem)] = problems(page.html(page.rows() | {"rules-0-value": typed})).items()
    assert name == "id_rules-0-value_error"
    assert problem[: len(text)] == text


@pytest.mark.parametrize("button", ["attribute", "segment", "down:0", "up:1"])
def test_rule_for_all_others_stays_the_last_one(button: str) -> None:
    rows = Screen(Page(OTHERS, of_value=True).press(button)).fields("rules")
    last = max(name.split("-")[1] for name in rows if name.endswith("-value"))
    assert rows[f"rules-{last}-value"] == '"c"'


def test_button_adds_a_rule_for_all_others_to_those_of_a_value_only() -> None:
    assert 'value="others"' not in Page([]).html()
    assert 'value="others"' in Page([], of_value=True).html()
    page = Page(OTHERS[:1], of_value=True)
    assert 'value="others"' in page.html()
    rows = Screen(page.press("others")).fields("rules")
    rows |= {"rules-1-value": '"c"', "rules-1-rollout_percent": "25"}
    assert page.saved(rows) == OTHERS


def test_rule_for_all_others_without_a_value_is_a_problem() -> None:
    page = Page(OTHERS[:1], of_value=True)
    rows = Screen(page.press("others")).fields("rules")
    [(name, problem)] = problems(page.html(rows)).items()
    assert name == "id_rules-1-value_error"
    assert problem.startswith("the value is missing or null")
