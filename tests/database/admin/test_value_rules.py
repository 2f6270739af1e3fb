"""Rules of values: their editor, who gets what, the question before a save, and secrets."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils.html import strip_tags

from flagstaff import changes
from flagstaff.admin import KeyValueStoreAdmin
from flagstaff.models import KeyValueStore, Segment
from tests.support.admin_pages import (
    VALUES,
    asks,
    column,
    confirmed,
    events_of,
    form_data,
    messages_of,
    page,
    production,
    rows_of,
    staff,
    text_to_type,
)
from tests.support.rule_rows import browser_form, edit, problems, rows, url_of, without

pytestmark = pytest.mark.django_db

STAFF = {"attribute": "is_staff", "operator": "in", "values": [True]}
SEGMENT = {"conditions": [{"segment": "enterprise"}], "value": 50}
OTHERS = {"conditions": [], "rollout_percent": 25, "value": 20}
RULES = [SEGMENT, OTHERS]


@pytest.fixture
def value(enterprise: Segment) -> KeyValueStore:
    return KeyValueStore.objects.create(key="max_items", value=10, type="integer", rules=RULES)


def new_value(value: object, *rule_values: object, **fields: Any) -> KeyValueStore:
    """Creates a value with a rule for staff that gives each of these."""
    rules = [{"conditions": [STAFF], "value": one} for one in rule_values]
    return KeyValueStore.objects.create(key="key", value=value, rules=rules, **fields)


def results(html: str) -> list[str]:
    """Returns the lines of each list that says who gets what."""
    lists = re.findall(r'<ol class="flagstaff-rules">(.*?)</ol>', html, re.DOTALL)
    items = [re.findall(r"<li.*?>(.*?)</li>", one, re.DOTALL) for one in lists]
    return ["; ".join(unescape(strip_tags(item)) for item in found) for found in items]


def saved(client: Client, value: KeyValueStore, **data: str) -> Any:
    """Edits inputs of the page, saves, confirms, and returns the page after it."""
    edited = {name: text for name, text in data.items() if not name.startswith("rules_")}
    form = browser_form(client, value, **{k: v for k, v in data.items() if k not in edited})
    response = client.post(url_of(value), {**form, **edited}, follow=True)
    if asks(response):
        response = client.post(url_of(value), confirmed(response), follow=True)
    value.refresh_from_db()
    return response


# The editor.


def test_page_shows_who_gets_what_and_an_input_for_each_value(
    operator: Client, value: KeyValueStore
) -> None:
    html = page(operator, url_of(value))
    assert results(html)[0].split("; ") == [
        '50 if in segment "enterprise"',
        "20 for 25 % of the others",
        "10 for all others",
    ]
    found = rows(html)
    assert (found["rules-0-value"], found["rules-0-0-segment"]) == ("50", "enterprise")
    assert (found["rules-1-value"], found["rules-1-percent"]) == ("20", "25")
    assert "rules-1-0-attribute" not in found


def test_rules_that_nobody_edits_are_kept(operator: Client, value: KeyValueStore) -> None:
    saved(operator, value, description="Items in a cart")
    assert (value.description, value.rules) == ("Items in a cart", RULES)


@pytest.mark.parametrize(
    ("own", "stored", "schema", "expected"),
    [
        (10, 50, {}, '<input type="number"'),
        ("a", "b c", {}, "<textarea"),
        (True, False, {}, "<select"),
        ("a", "b", {"choices": ["a", "b"]}, "<select"),
        ({"a": 1}, [2], {}, "<textarea"),
        # A value of another type than the value itself.
        (10, "ten", {}, "<textarea"),
    ],
)
def test_value_of_a_rule_has_the_input_of_its_type_and_is_kept(
    own: object, stored: object, schema: Any, expected: str, operator: Client
) -> None:
    value = new_value(own, stored, **schema)
    html = page(operator, url_of(value))
    pattern = r'(<[a-z]+(?: type="number")?) class="flagstaff-rule-value[^>]*rules-0-'
    [tag] = re.findall(pattern, html)
    assert tag == expected
    saved(operator, value, rules_0_name="all", description="x")
    assert value.rules == [{"name": "all", "conditions": [STAFF], "value": stored}]


def test_text_needs_no_quotes(operator: Client) -> None:
    value = new_value("stripe", "paypal")
    assert rows(page(operator, url_of(value)))["rules-0-text"] == "paypal"
    saved(operator, value, rules_0_text='42 "x"\r\nü')
    assert value.rules[0]["value"] == '42 "x"\nü'


def test_choices_and_booleans_are_options(operator: Client) -> None:
    value = new_value("a", "b", choices=["a", "b"], type="string")
    html = page(operator, url_of(value))
    pattern = r'<select class="flagstaff-rule-value" name="rules-0.*?</select>'
    [select] = re.findall(pattern, html, re.DOTALL)
    assert re.findall(r'value="([^"]*)"', select) == ["", "&quot;a&quot;", "&quot;b&quot;"]
    saved(operator, value, rules_0_value='"a"')
    assert value.rules[0]["value"] == "a"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "Write the value that this rule gives."),
        ("null", "A rule cannot give null. Write another value."),
        ("1.5", "The value must be an integer, not a number."),
        ('"50"', "The value must be an integer, not a string; did you mean 50 without quotes?"),
    ],
)
def test_wrong_value_has_its_problem_beside_it(
    text: str, problem: str, operator: Client, value: KeyValueStore
) -> None:
    form = browser_form(operator, value, rules_0_value=text)
    html = operator.post(url_of(value), form).content.decode()
    [(place, shown)] = problems(html)
    assert place == "id_rules-0-value-problem"
    assert shown == problem


@pytest.mark.parametrize("percent", ["", "0", "100", "x"])
def test_rule_for_all_others_needs_a_percentage_below_100(
    percent: str, operator: Client, value: KeyValueStore
) -> None:
    form = browser_form(operator, value, rules_1_percent=percent)
    html = operator.post(url_of(value), form).content.decode()
    text = "Write 1 to 99. For all others, change the value itself instead."
    assert problems(html) == [("id_rules-1-percent-problem", text)]


def test_rule_for_all_others_must_be_the_last_one(operator: Client, value: KeyValueStore) -> None:
    html = edit(operator, value, browser_form(operator, value), "up:1")
    form = without(form_data(operator.get(url_of(value))), "rules") | rows(html)
    html = operator.post(url_of(value), form).content.decode()
    [(place, text)] = problems(html)
    assert place.endswith("conditions-problem")
    assert text.startswith("A rule for all others must be the last one.")


def test_new_rule_stays_before_the_rule_for_all_others(
    operator: Client, value: KeyValueStore
) -> None:
    html = edit(operator, value, browser_form(operator, value), "add-rule:attribute=is_staff")
    found = rows(html)
    assert [found[f"rules-{index}-value"] for index in range(3)] == ["50", "", "20"]
    assert found["rules-1-0-attribute"] == "is_staff"


def test_button_adds_a_rule_for_all_others(operator: Client) -> None:
    value = new_value(10)
    html = edit(operator, value, browser_form(operator, value), "add-rule:others")
    assert rows(html) == {
        "rules-rows": "1",
        "rules-0-name": "",
        "rules-0-percent": "",
        "rules-0-value": "",
    }
    assert "all users whom no rule above matches" in html


def test_json_and_rows_replace_each_other(operator: Client, value: KeyValueStore) -> None:
    html = edit(operator, value, browser_form(operator, value), "json")
    [text] = re.findall(r'<textarea name="rules"[^>]*>(.*?)</textarea>', html, re.DOTALL)
    assert json.loads(unescape(text)) == RULES
    data = form_data(operator.get(url_of(value))) | {"rules": unescape(text)}
    assert rows(edit(operator, value, data, "rows"))["rules-1-value"] == "20"


def test_unknown_segment_is_refused(operator: Client, value: KeyValueStore) -> None:
    form = browser_form(operator, value, rules_0_0_segment="enterprize")
    html = operator.post(url_of(value), form).content.decode()
    assert "enterprize" in html
    value.refresh_from_db()
    assert value.rules == RULES


def test_new_value_may_have_rules(operator: Client) -> None:
    data = {
        **form_data(operator.get(f"{VALUES}add/")),
        "key": "max_items",
        "value": "10",
        "rules-rows": "1",
        "rules-0-0-attribute": "is_staff",
        "rules-0-0-operator": "in",
        "rules-0-0-values": "true",
        "rules-0-value": "50",
    }
    operator.post(f"{VALUES}add/", without(data, "rules_") | {"_save": "1"})
    assert KeyValueStore.objects.get().rules == [{"conditions": [STAFF], "value": 50}]


# The question before a save.


def test_change_of_rules_asks_with_who_gets_what_before_and_after(operator: Client) -> None:
    User.objects.create_user("ana")
    value = new_value(10)
    html = edit(operator, value, browser_form(operator, value), "add-rule:attribute=is_staff")
    form = without(form_data(operator.get(url_of(value))), "rules") | rows(html)
    form |= {"rules-0-0-values": "true", "rules-0-value": "50"}
    response = operator.post(url_of(value), form)
    assert asks(response)
    assert results(response.content.decode()) == [
        "10 for everyone",
        "50 if is_staff is true; 10 for all others",
    ]
    after = operator.post(url_of(value), confirmed(response), follow=True)
    [message] = messages_of(after)
    assert "The value changes for 1 of 2 users." in message
    value.refresh_from_db()
    assert value.rules == [{"conditions": [STAFF], "value": 50}]


def test_save_of_a_value_without_rules_asks_and_is_typed_in_production(
    operator: Client, settings: Any
) -> None:
    value = new_value(10)
    form = {**browser_form(operator, value), "value": "15"}
    response = operator.post(url_of(value), form)
    assert asks(response)
    assert "The value changes for 1 of 1 user." in response.content.decode()
    production(settings)
    assert text_to_type(operator.post(url_of(value), form)) == "key"


def test_new_value_itself_shows_that_users_keep_another_value(operator: Client) -> None:
    value = new_value(10, 50)
    response = operator.post(url_of(value), {**browser_form(operator, value), "value": "15"})
    assert asks(response)
    html = response.content.decode()
    assert "The rules stay: users for whom a rule decides keep another value." in html
    assert '<button type="submit" class="button flagstaff-button" name="_everyone"' in html
    operator.post(url_of(value), confirmed(response))
    value.refresh_from_db()
    assert (value.value, len(value.rules)) == (15, 1)


@pytest.mark.django_db(transaction=True)
def test_value_for_everyone_removes_the_rules_in_one_change(operator: Client) -> None:
    changes.values.create("key", 10, rules=[{"conditions": [STAFF], "value": 50}])
    value = KeyValueStore.objects.get()
    response = operator.post(url_of(value), {**browser_form(operator, value), "value": "15"})
    operator.post(url_of(value), {**confirmed(response), "_everyone": "1"})
    value.refresh_from_db()
    assert (value.value, value.rules) == (15, [])
    [newest, _created] = events_of(page(operator, f"{VALUES}{value.pk}/history/"))
    assert newest.startswith("10 → 15, rules rule 1: 50 if is_staff is true → no rules")


@pytest.mark.parametrize("secret", [False, True])
def test_value_for_everyone_removes_rules_that_somebody_else_has_just_changed(
    secret: bool, operator: Client
) -> None:
    value = new_value(10, 50, secret=secret)
    form = browser_form(operator, value)
    question = operator.post(url_of(value), {**form, "value": "5"}, follow=True)
    assert asks(question)
    changes.values.update("key", {"rules": [{"conditions": [STAFF], "value": 60}]})
    # The page asks again, because it showed another version.
    question = operator.post(url_of(value), {**confirmed(question), "_everyone": "1"}, follow=True)
    operator.post(url_of(value), {**confirmed(question), "_everyone": "1"}, follow=True)
    value.refresh_from_db()
    assert (value.value, value.rules) == (5, [])


def test_script_of_the_form_gets_how_many_users_get_another_value(operator: Client) -> None:
    value = new_value(10, 50)
    url = f"{VALUES}{value.pk}/marks/"
    same = operator.post(url, browser_form(operator, value)).json()
    assert same["text"] == ""
    other = operator.post(url, browser_form(operator, value, rules_0_value="60")).json()
    assert other["text"] == "The value changes for 1 of 1 user."
    value.refresh_from_db()
    assert value.rules[0]["value"] == 50


def test_page_has_the_command_that_finds_calls_without_a_user(operator: Client) -> None:
    assert "manage.py flags references key" in page(operator, url_of(new_value(10, 50)))


# Permissions and the list.


def test_viewer_sees_sentences_and_no_editor(value: KeyValueStore) -> None:
    html = page(staff("view_keyvaluestore"), url_of(value))
    assert '50 if in segment "enterprise"' in results(html)[0]
    assert "flagstaff-rule-editor" not in html


def test_list_shows_the_values_of_rules(operator: Client, value: KeyValueStore) -> None:
    changes.values.create("token", "x", secret=True, rules=[{"conditions": [STAFF], "value": "y"}])
    many = [{"conditions": [STAFF], "value": number} for number in range(5)]
    changes.values.create("many", 9, rules=many)
    shown = [unescape(text) for text in column(page(operator, VALUES), "shown_value")]
    assert shown == ["9 5 rules: 0, 1, 2, …", "10 2 rules: 50, 20", "•••••• 1 rule"]


def test_flags_of_a_user_show_the_values_of_rules(operator: Client) -> None:
    User.objects.create_user("ana", is_staff=True)
    changes.values.create("plain", 1)
    changes.values.create("items", 10, rules=[{"name": "team", "conditions": [STAFF], "value": 50}])
    changes.values.create("token", "x", secret=True, rules=[{"conditions": [STAFF], "value": "y"}])
    url = "/admin/flagstaff/featureflag/user/?user="
    assert rows_of(page(operator, f"{url}ana")) == ["items 50 rule 1 “team”", "token •••••• rule 1"]
    assert rows_of(page(operator, url)) == [
        "items 10 no rule matches",
        "token •••••• no rule matches",
    ]
    without_values = staff("view_featureflag", "view_user", name="bea")
    assert "Values with rules" not in page(without_values, f"{url}ana")


# Secrets.


@pytest.fixture
def secret() -> KeyValueStore:
    return new_value("hunter1", "hunter2", secret=True)


def test_page_of_a_secret_masks_the_values_of_its_rules(
    operator: Client, secret: KeyValueStore
) -> None:
    html = page(operator, url_of(secret))
    assert "hunter" not in html
    assert "•••••• if is_staff is true" in results(html)[0]
    assert 'value="json"' not in html
    assert "hunter" not in page(staff("view_keyvaluestore"), f"{url_of(secret)}?show=1")
    assert rows(page(operator, f"{url_of(secret)}?show=1"))["rules-0-text"] == "hunter2"


def test_masked_value_of_a_rule_is_kept_unless_another_is_typed(
    operator: Client, secret: KeyValueStore
) -> None:
    saved(operator, secret, rules_0_name="team")
    assert secret.rules == [{"name": "team", "conditions": [STAFF], "value": "hunter2"}]
    response = saved(operator, secret, rules_0_value='"hunter3"')
    assert secret.rules[0]["value"] == "hunter3"
    assert "hunter" not in response.content.decode()


def test_masked_value_that_another_change_replaced_must_be_typed_again(
    operator: Client, secret: KeyValueStore
) -> None:
    form = browser_form(operator, secret, rules_0_name="team")
    changes.values.update("key", {"rules": [{"conditions": [STAFF], "value": "hunter4"}]})
    response = operator.post(url_of(secret), form)
    html = response.content.decode()
    assert problems(html) == [
        ("id_rules-0-value-problem", "The hidden value was changed meanwhile. Type it again.")
    ]
    assert "hunter" not in html


def test_masked_rules_that_only_json_can_show_are_kept(operator: Client) -> None:
    value = new_value("hunter1", secret=True)
    rules = [{"name": "a\nb", "conditions": [STAFF], "value": "hunter2"}]
    KeyValueStore.objects.update(rules=rules)
    html = page(operator, url_of(value))
    assert "hunter" not in html
    data = form_data(operator.get(url_of(value)))
    assert (
        operator.post(url_of(value), {**data, "rules": "", "description": "x"}).status_code == 302
    )
    value.refresh_from_db()
    assert (value.description, value.rules) == ("x", rules)


def test_secret_that_becomes_public_needs_its_rules_typed_again(
    operator: Client, secret: KeyValueStore
) -> None:
    form = without(browser_form(operator, secret), "secret") | {"value": '"public"'}
    response = operator.post(url_of(secret), form)
    assert list(response.context["adminform"].form.errors) == ["rules"]
    assert "hunter" not in response.content.decode()


def test_secret_may_become_public_for_everyone(operator: Client, secret: KeyValueStore) -> None:
    form = without(browser_form(operator, secret, rules_0_value='"typed"'), "secret")
    question = operator.post(url_of(secret), {**form, "value": '"public"'}, follow=True)
    operator.post(url_of(secret), {**confirmed(question), "_everyone": "1"}, follow=True)
    secret.refresh_from_db()
    assert (secret.value, secret.rules, secret.secret) == ("public", [], False)


def test_conflict_about_a_secret_shows_none_where_the_form_has_no_box_for_it(
    operator: Client, secret: KeyValueStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    readonly = (*KeyValueStoreAdmin.readonly_fields, "secret")
    monkeypatch.setattr(KeyValueStoreAdmin, "readonly_fields", readonly)
    form = browser_form(operator, secret) | {"value": '"typed"'}
    changes.values.set("key", "hunter3")
    response = operator.post(url_of(secret), form)
    assert "Now in the database: ••••••" in response.content.decode()
    assert "hunter" not in response.content.decode()
