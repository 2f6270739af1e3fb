"""What the editor of rules offers and marks: attributes, values, and how a rule begins."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from flagstaff.admin.rule_editor import samples
from flagstaff.admin.rule_editor.marks import mark_texts
from flagstaff.models import FeatureFlag, Segment
from tests.support.admin_pages import (
    FLAGS,
    flag_url,
    form_data,
    messages_of,
    page,
    post_confirmed,
    staff,
)
from tests.support.rule_rows import browser_form, edit, rows, save, url_of
from tests.support.sql import statements_of

pytestmark = pytest.mark.django_db

STAFF: dict[str, Any] = {"attribute": "is_staff", "operator": "in", "values": [True]}
ONLY_CALLS = "The condition can match only if a call passes it in “context”."
NOT_KNOWN = f"“country” is not known here. {ONLY_CALLS}"
A_BOOL = 'it is true or false; use "in" (is one of) with true or false.'
IMPOSSIBLE = f'Value 1 never matches "is_staff": {A_BOOL}'
STAFF_TYPED_YES = {"attribute": "is_staff", "operator": "in", "values": "yes"}


@pytest.fixture
def flag() -> FeatureFlag:
    rules = [{"conditions": [STAFF]}]
    return FeatureFlag.objects.create(key="new_checkout", rollout_percent=10, rules=rules)


@pytest.fixture
def attributes(settings: Any) -> Any:
    """Sets the attributes of the project."""

    def set_attributes(*names: str) -> None:
        settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": [*names]}

    return set_attributes


def new_rule(**parts: str) -> dict[str, str]:
    """The inputs of a second rule with one condition."""
    inputs = {"name": "", "percent": "", "0-attribute": "", "0-operator": "in", "0-values": ""}
    inputs |= {name.replace("_", "-"): value for name, value in parts.items()}
    return {f"rules-1-{name}": value for name, value in inputs.items()}


def marks(html: str) -> list[str]:
    """The marks of the rows that have one."""
    shown = re.sub(r"<template.*?</template>", "", html, flags=re.DOTALL)
    found = re.findall(r'<p class="flagstaff-mark[^>]*>(.*?)</p>', shown, re.DOTALL)
    return [unescape(text) for text in found if text]


def sample_buttons(html: str) -> list[str]:
    """The buttons that add a value to a row."""
    shown = re.sub(r"<template.*?</template>", "", html, flags=re.DOTALL)
    return [unescape(one) for one in re.findall(r'value="add-value:([^"]*)"', shown)]


def offered(html: str) -> dict[str, str]:
    """The attributes of the list, with their labels."""
    [known] = re.findall(r'<datalist id="id_rules_attributes">(.*?)</datalist>', html)
    return dict(re.findall(r'<option value="([^"]*)"(?: label="([^"]*)")?', known))


def stored(row: FeatureFlag | Segment) -> Any:
    row.refresh_from_db()
    return row.rules if isinstance(row, FeatureFlag) else row.conditions


def error_of(response: Any, field: str = "rules") -> list[str]:
    errors = response.context["adminform"].form.errors
    return list(errors[field])


# Attributes and their types.


def test_attributes_of_the_project_are_offered_with_their_types(
    operator: Client, flag: FeatureFlag, attributes: Any
) -> None:
    attributes("date_joined", "id", "last_name", "shop.flags.attributes")
    assert offered(page(operator, url_of(flag))) == {
        "date_joined": "date_joined: date and time",
        "id": "id: number",
        "last_name": "last_name: text",
        "is_authenticated": "is_authenticated: yes/no",
        "is_staff": "is_staff: yes/no",
        "is_superuser": "is_superuser: yes/no",
        "groups": "groups: names of groups",
        "visitor": "visitor: text",
    }


def test_column_that_the_user_model_lacks_is_offered_without_a_type(
    operator: Client, flag: FeatureFlag, attributes: Any
) -> None:
    attributes("gone")
    assert offered(page(operator, url_of(flag)))["gone"] == ""


# Bools.


def values_input(html: str) -> str:
    [tag] = re.findall(r'<(\w+)[^>]*name="rules-0-0-values"', html)
    return str(tag)


def test_values_of_a_bool_are_a_choice(operator: Client, flag: FeatureFlag) -> None:
    html = page(operator, url_of(flag))
    assert values_input(html) == "select"
    assert rows(html)["rules-0-0-values"] == "true"


def test_values_of_a_bool_column_become_a_choice_with_the_next_page(
    operator: Client, flag: FeatureFlag, attributes: Any
) -> None:
    attributes("is_active")
    data = browser_form(operator, flag, rules_0_0_attribute="country")
    assert values_input(edit(operator, flag, data, "up:0")) == "textarea"
    data["rules-0-0-attribute"] = "is_active"
    assert values_input(edit(operator, flag, data, "up:0")) == "select"


@pytest.mark.parametrize("text", ["false", "true, false"])
def test_bools_are_saved(text: str, operator: Client, flag: FeatureFlag) -> None:
    save(operator, flag, browser_form(operator, flag, rules_0_0_values=text))
    assert stored(flag)[0]["conditions"][0]["values"] == json.loads(f"[{text}]")


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"rules_0_0_values": "yes"}, IMPOSSIBLE),
        ({"rules_0_0_values": "true, yes"}, IMPOSSIBLE.replace("1", "2")),
        ({"rules_0_0_values": "1"}, IMPOSSIBLE),
        ({"rules_0_0_operator": "contains"}, IMPOSSIBLE),
    ],
)
def test_value_that_no_bool_equals_is_refused_at_its_row(
    inputs: dict[str, str], text: str, operator: Client, flag: FeatureFlag
) -> None:
    response = operator.post(url_of(flag), browser_form(operator, flag, **inputs))
    assert error_of(response) == [f"rule 1: {text}"]
    html = response.content.decode()
    assert marks(html) == [text]
    [described] = re.findall(r'<[^>]*name="rules-0-0-values"[^>]*>', html)
    assert 'aria-describedby="id_rules-0-0-mark" aria-invalid="true"' in described
    assert rows(html)["rules-0-0-values"] == inputs.get("rules_0_0_values", "true")
    assert stored(flag)[0]["conditions"] == [STAFF]


def test_value_that_no_bool_equals_is_refused_in_json(operator: Client, flag: FeatureFlag) -> None:
    data = browser_form(operator, flag)
    rules = [{"name": "a", "conditions": [{**STAFF, "values": ["yes"]}]}]
    data = {name: value for name, value in data.items() if not name.startswith("rules-")}
    response = operator.post(url_of(flag), data | {"rules": json.dumps(rules)})
    assert error_of(response) == [f'rule 1 ("a"): {IMPOSSIBLE}']


def test_stored_value_that_no_bool_equals_is_marked_and_stops_no_other_edit(
    operator: Client, flag: FeatureFlag
) -> None:
    rules = [{"conditions": [{**STAFF, "values": ["yes"]}]}]
    FeatureFlag.objects.update(rules=rules)
    assert marks(page(operator, url_of(flag))) == [IMPOSSIBLE]
    save(operator, flag, browser_form(operator, flag) | {"description": "new"})
    assert (flag.description, flag.rules) == ("new", rules)


# Attributes that are not known.


def test_unknown_attribute_is_marked_and_saved_with_a_warning(
    operator: Client, flag: FeatureFlag
) -> None:
    data = browser_form(operator, flag, rules_0_0_attribute="country", rules_0_0_values="DE")
    response = operator.post(url_of(flag), data, follow=True)
    assert f"rule 1: {NOT_KNOWN}" in messages_of(response)
    assert stored(flag)[0]["conditions"][0]["attribute"] == "country"
    assert marks(page(operator, url_of(flag))) == [NOT_KNOWN]


def test_misspelled_attribute_is_marked_with_the_known_one(
    operator: Client, flag: FeatureFlag
) -> None:
    data = browser_form(operator, flag, rules_0_0_attribute="is_staf")
    assert marks(edit(operator, flag, data, "up:0")) == [
        f"“is_staf” is not known here; did you mean “is_staff”? {ONLY_CALLS}"
    ]


def test_unknown_attribute_may_come_from_the_function(
    operator: Client, flag: FeatureFlag, attributes: Any
) -> None:
    attributes("shop.flags.attributes")
    data = browser_form(operator, flag, rules_0_0_attribute="plan")
    assert marks(edit(operator, flag, data, "up:0")) == [
        (
            "“plan” is not known here. The condition can match only if a call passes it or "
            "“shop.flags.attributes” returns it."
        )
    ]


def test_confirmation_shows_the_marks_of_edited_rules(operator: Client, flag: FeatureFlag) -> None:
    FeatureFlag.objects.update(enabled=True)
    data = browser_form(operator, flag, rules_0_percent="50") | new_rule(
        **{"name": "Germany", "0_attribute": "country", "0_values": "DE"}
    )
    html = unescape(operator.post(url_of(flag), data).content.decode())
    assert f'rule 2 ("Germany"): {NOT_KNOWN}' in html


def test_confirmation_of_other_edits_shows_no_marks(operator: Client, flag: FeatureFlag) -> None:
    country = {"attribute": "country", "operator": "in", "values": ["DE"]}
    FeatureFlag.objects.update(enabled=True, rules=[{"conditions": [country]}])
    data = browser_form(operator, flag) | {"rollout_percent": 50}
    html = unescape(operator.post(url_of(flag), data).content.decode())
    assert "Save these changes of “new_checkout”?" in html
    assert NOT_KNOWN not in html


# Marks while a script sends what is typed.


def test_script_gets_the_marks_of_a_flag_by_row(operator: Client, flag: FeatureFlag) -> None:
    data = browser_form(operator, flag, rules_0_0_values="yes")
    new = {"name": "x", "0_attribute": "country", "0_values": "DE"}
    data |= {name.replace("-1-", "-n7-"): value for name, value in new_rule(**new).items()}
    response = operator.post(f"{FLAGS}{flag.pk}/impact/", data)
    assert response.json()["marks"] == {
        "0-0": {"part": "values", "text": IMPOSSIBLE, "is_error": True},
        "n7-0": {"part": "attribute", "text": NOT_KNOWN, "is_error": False},
    }


def test_page_of_a_new_flag_says_where_a_script_gets_its_marks(operator: Client) -> None:
    html = page(operator, f"{FLAGS}add/")
    assert f'data-flagstaff-impact="{FLAGS}marks/"' in html
    assert 'src="/static/flagstaff/impact.js"' in html


def test_script_gets_the_marks_of_a_new_flag_and_no_values(operator: Client) -> None:
    data = new_rule(**{"0_attribute": "is_staf", "0_values": "x"})
    data |= {f"rules-n1-0-{part}": text for part, text in STAFF_TYPED_YES.items()}
    response = operator.post(f"{FLAGS}marks/", data)
    similar = f"“is_staf” is not known here; did you mean “is_staff”? {ONLY_CALLS}"
    assert response.json() == {
        "text": "",
        "marks": {
            "1-0": {"part": "attribute", "text": similar, "is_error": False},
            "n1-0": {"part": "values", "text": IMPOSSIBLE, "is_error": True},
        },
    }
    assert not FeatureFlag.objects.exists()


def test_marks_of_a_new_flag_need_a_post_and_the_permission_to_add(operator: Client) -> None:
    url = f"{FLAGS}marks/"
    assert operator.get(url).status_code == 403
    editor = staff("view_featureflag", "change_featureflag", name="editor")
    assert editor.post(url).status_code == 403
    assert staff("add_featureflag").post(url).json() == {"text": "", "marks": {}}


# Sample values.


@pytest.fixture
def plans(attributes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text column with the values free, pro and one of a single user."""
    attributes("last_name")
    # The table of the tests has no other text column.
    monkeypatch.setattr(samples, "_PERSONAL", re.compile("email"))
    plans = [*["free"] * 3, *["pro, yearly"] * 2, "mine"]
    User.objects.bulk_create([User(username=str(n), last_name=one) for n, one in enumerate(plans)])


def read_rule(attribute: str, *values: object) -> None:
    condition = {"attribute": attribute, "operator": "in", "values": [*values]}
    FeatureFlag.objects.update(rules=[{"conditions": [condition]}])


@pytest.mark.usefixtures("plans")
def test_values_of_several_users_are_offered(operator: Client, flag: FeatureFlag) -> None:
    read_rule("last_name", "free")
    assert sample_buttons(page(operator, url_of(flag))) == ["0-0:free", '0-0:"pro, yearly"']


@pytest.mark.usefixtures("plans")
def test_button_of_a_value_adds_it(operator: Client, flag: FeatureFlag) -> None:
    read_rule("last_name", "free")
    data = browser_form(operator, flag)
    html = edit(operator, flag, data, 'add-value:0-0:"pro, yearly"')
    assert rows(html)["rules-0-0-values"] == 'free, "pro, yearly"'
    save(operator, flag, data | rows(html))
    assert stored(flag)[0]["conditions"][0]["values"] == ["free", "pro, yearly"]


@pytest.mark.usefixtures("plans")
def test_column_with_more_than_20_values_has_none(operator: Client, flag: FeatureFlag) -> None:
    read_rule("last_name", "free")
    users = [User(username=f"u{n}", last_name=f"plan {n // 2}") for n in range(40)]
    User.objects.bulk_create(users)
    assert sample_buttons(page(operator, url_of(flag))) == []


@pytest.mark.usefixtures("plans")
def test_column_with_long_texts_has_no_values(operator: Client, flag: FeatureFlag) -> None:
    read_rule("last_name", "free")
    User.objects.create(username="long", last_name="x" * 41)
    assert sample_buttons(page(operator, url_of(flag))) == []


@pytest.mark.usefixtures("plans")
def test_values_need_the_permission_to_view_users(flag: FeatureFlag) -> None:
    read_rule("last_name", "free")
    editor = staff("view_featureflag", "change_featureflag", name="editor")
    html = page(editor, url_of(flag))
    assert rows(html)["rules-0-0-values"] == "free"
    assert "add-value" not in html
    viewer = staff("view_featureflag", "change_featureflag", "view_user", name="viewer")
    assert sample_buttons(page(viewer, url_of(flag))) != []


@pytest.mark.usefixtures("plans")
def test_values_on_the_page_of_a_new_flag_need_the_same_permission() -> None:
    author = staff("add_featureflag", name="author")
    assert "add-value" not in page(author, f"{FLAGS}add/")
    viewer = staff("add_featureflag", "view_user", name="viewer")
    assert 'value="add-value:__row__:free"' in page(viewer, f"{FLAGS}add/")


def test_columns_that_name_persons_have_no_values(
    operator: Client, flag: FeatureFlag, attributes: Any
) -> None:
    attributes("last_name", "email")
    users = [User(username=str(n), last_name="Bell", email="a@b.example") for n in range(3)]
    User.objects.bulk_create(users)
    assert "add-value" not in page(operator, url_of(flag))


def test_names_of_groups_are_offered(operator: Client, flag: FeatureFlag) -> None:
    Group.objects.create(name="beta")
    Group.objects.create(name='Berlin, "DE"')
    read_rule("groups", "beta")
    found = ["0-0:beta", r'0-0:"Berlin, \"DE\""']
    assert sorted(sample_buttons(page(operator, url_of(flag)))) == sorted(found)


def test_choices_of_a_column_are_offered_without_a_query(
    operator: Client, flag: FeatureFlag, attributes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    attributes("last_name")
    column = User._meta.get_field("last_name")
    monkeypatch.setattr(column, "choices", [("", "none"), ("pro", "Pro"), ("free", "Free")])
    read_rule("last_name", "pro")
    assert sample_buttons(page(operator, url_of(flag))) == ["0-0:pro", "0-0:free"]
    assert len(sample_queries(operator, url_of(flag))) == 1


def sample_queries(client: Client, url: str) -> list[str]:
    statements = statements_of(lambda: page(client, url))
    return [one for one in statements if re.search(r"LIMIT (50|1000)\b", one)]


@pytest.mark.usefixtures("plans")
def test_values_take_two_queries_and_none_without_an_editor(
    operator: Client, flag: FeatureFlag, attributes: Any
) -> None:
    attributes("last_name", "first_name", "is_active")
    assert len(sample_queries(operator, url_of(flag))) == 2
    viewer = staff("view_featureflag", "view_user", name="viewer")
    assert sample_queries(viewer, url_of(flag)) == []
    assert sample_queries(operator, FLAGS) == []


# Empty rows, and how a rule begins.


def test_empty_condition_beside_another_one_is_dropped(operator: Client, flag: FeatureFlag) -> None:
    data = browser_form(operator, flag)
    empty = {"0-1-attribute": " ", "0-1-operator": "in", "0-1-values": "", "0-2-segment": ""}
    save(operator, flag, data | {f"rules-{name}": value for name, value in empty.items()})
    assert stored(flag) == [{"conditions": [STAFF]}]


def test_empty_rule_is_dropped(operator: Client, flag: FeatureFlag) -> None:
    save(operator, flag, browser_form(operator, flag) | new_rule())
    assert stored(flag) == [{"conditions": [STAFF]}]


@pytest.mark.parametrize("part", ["name", "percent"])
def test_rule_with_only_a_name_or_a_percentage_is_refused(
    part: str, operator: Client, flag: FeatureFlag
) -> None:
    data = browser_form(operator, flag) | new_rule(**{part: "5"})
    response = operator.post(url_of(flag), data)
    assert error_of(response) == ["Correct the problem that is marked below."]
    assert rows(response.content.decode())[f"rules-1-{part}"] == "5"


@pytest.mark.parametrize(
    ("button", "inputs", "focused"),
    [
        ("add-rule", {"rules-1-0-attribute": ""}, "rules-1-0-attribute"),
        ("add-rule:segment", {"rules-1-0-segment": ""}, "rules-1-0-segment"),
        ("add-rule:attribute=groups", {"rules-1-0-attribute": "groups"}, "rules-1-0-values"),
        ("add-rule:attribute=id", {"rules-1-0-attribute": "id"}, "rules-1-0-values"),
    ],
)
def test_rule_begins_with_what_was_chosen(  # noqa: PLR0913, PLR0917 (fixtures)
    button: str,
    inputs: dict[str, str],
    focused: str,
    operator: Client,
    flag: FeatureFlag,
    attributes: Any,
) -> None:
    attributes("id")
    data = browser_form(operator, flag)
    assert f'value="{button}"' in page(operator, url_of(flag))
    html = edit(operator, flag, data, button)
    assert inputs.items() <= rows(html).items()
    [tag] = re.findall(r"<[^>]*\sautofocus[^>]*>", html)
    assert f'name="{focused}"' in tag


def test_project_without_an_attribute_of_the_primary_key_names_the_allowed_users(
    operator: Client, flag: FeatureFlag
) -> None:
    html = page(operator, url_of(flag))
    assert "To add single users, use “Allowed users”." in html
    assert "add-rule:attribute=id" not in html


# The counts of rules.


def test_mark_of_a_missing_attribute_does_not_say_that_only_calls_match() -> None:
    condition = {"attribute": "country", "operator": "isnull", "values": [True]}
    assert mark_texts([{"conditions": [condition]}], errors=False) == [
        "rule 1: “country” is not known here. It is missing unless a call passes it in “context”."
    ]


@pytest.mark.parametrize(
    ("condition", "is_error"),
    [
        ({"attribute": "is_active", "operator": "in", "values": ["trial"]}, True),
        ({"attribute": "is_staff", "operator": "in", "values": ["x"], "negate": True}, True),
        ({"attribute": "country", "operator": "regex", "values": ["/^DE$/"]}, False),
        ({"attribute": "email", "operator": "in", "values": ["Anna@example.com"]}, False),
    ],
)
def test_value_that_never_matches_is_an_error_where_the_type_is_known(
    condition: dict[str, Any], *, is_error: bool, attributes: Any
) -> None:
    attributes("is_active", "email")
    rules = [{"conditions": [condition]}]
    assert len(mark_texts(rules, errors=is_error)) == 1
    assert mark_texts(rules, errors=not is_error) == []


def test_stored_condition_that_never_matches_stops_no_other_change(operator: Client) -> None:
    staff_rule = {"conditions": [{"attribute": "is_staff", "operator": "in", "values": [True]}]}
    never = {"conditions": [{"attribute": "is_superuser", "operator": "in", "values": ["yes"]}]}
    flag = FeatureFlag.objects.create(key="a", enabled=True, rules=[staff_rule, never])
    data = form_data(operator.get(flag_url(flag)))
    rules = json.dumps([{**staff_rule, "rollout_percent": 0}, never])
    edited = {**data, "enabled": "on", "rollout_percent": "0", "rules": rules}
    post_confirmed(operator, flag_url(flag), edited)
    flag.refresh_from_db()
    assert flag.rules[0]["rollout_percent"] == 0
