"""The admin of values: the list, the page of a value, its actions, and secrets."""

import json
import re
from typing import Any

import pytest
from django.contrib.admin import AdminSite
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import models
from django.test import Client, RequestFactory

from flagstaff import acting_as, changes
from flagstaff.actions import Kind, all_actions
from flagstaff.admin import KeyValueStoreAdmin
from flagstaff.admin.row_actions import ArgumentFields
from flagstaff.history import value_version
from flagstaff.models import Change, KeyValueStore, Segment
from tests.support.admin_pages import (
    RECENT,
    VALUES,
    act,
    answer,
    asks,
    column,
    confirmed,
    content_of,
    count_queries,
    errors_of,
    events_of,
    links_of,
    messages_of,
    notes_of,
    page,
    preview_of,
    problems_of,
    production,
    question,
    row_url,
    staff,
    text_to_type,
    typed,
    undo_url,
    undo_urls,
)
from tests.support.models_of_others import value_model_of
from tests.support.screen import Screen
from tests.support.shop import STAFF
from tests.support.sql import rows as execute
from tests.support.usage_rows import add_usage, delete_usage

KEY = "gateway"
RULES = [{"conditions": [STAFF], "value": "paypal"}]
GATEWAYS = ["Stripe", "PayPal"]


def value_of(value: object = "stripe", **fields: Any) -> KeyValueStore:
    changes.values.create(KEY, value, **fields)
    return KeyValueStore.objects.get(key=KEY)


def test_list_shows_the_key_the_value_its_rules_and_a_type_that_is_set(operator: Client) -> None:
    many = [{"conditions": [STAFF], "value": number} for number in range(5)]
    changes.values.create("hosts", ["x" * 200])
    changes.values.create("limit", 5, type="integer", rules=many)
    changes.values.create("password", "hunter2", secret=True, rules=RULES)
    changes.values.create("world", "Ahoj", choices=["Ahoj", "x"], description="a greeting")
    html = page(operator, VALUES)
    assert column(html, "value_key") == ["hosts", "limit", "password", "world a greeting"]
    long, *others = column(html, "shown_value")
    assert (len(long), others) == (80, ["5 5 rules", "•••••• 1 rule", '"Ahoj"'])
    assert column(html, "value_type") == ["-", "integer", "-", "-"]


@pytest.mark.django_db(transaction=True)
def test_list_shows_and_sorts_by_the_newest_change(operator: Client) -> None:
    ana = User.objects.create_user("ana")
    changes.values.create("gateway", "stripe")
    with acting_as(ana):
        changes.values.set("gateway", "paypal")
    changes.values.create("hosts", {"max": 3, "min": 1})
    changes.values.update("hosts", {"description": "all"})
    changes.values.create("limit", {"max": 3, "min": 1})
    changes.values.set("limit", {"max": 4, "min": 1})
    gateway, hosts, limit = column(page(operator, VALUES), "changed")
    assert gateway == 'value "stripe" → "paypal" just now · ana'
    assert (hosts.partition(" ")[0], limit[:17]) == ("description", "value max: 3 → 4 ")
    # SQL does not set the time in the row.
    execute("UPDATE flagstaff_keyvaluestore SET value = '1' WHERE key = 'gateway'")
    *_others, order = Screen(page(operator, f"{VALUES}?o=3")).attributes('a[href^="?o="]', "href")
    html = page(operator, f"{VALUES}?o=-{order[-1]}")
    assert column(html, "value_key") == ["gateway", "limit", "hosts all"]
    Change.objects.all().delete()
    assert column(page(operator, VALUES), "changed") == ["just now"] * 3


def test_page_shows_what_is_the_actions_and_the_last_changes(operator: Client) -> None:
    User.objects.create_user("bea")
    with acting_as("ana"):
        value = value_of({"a": 1}, description="Who pays", rules=RULES)
    changes.values.update(KEY, {"description": "Who takes the money"})
    html = page(operator, row_url(value))
    text = content_of(html)
    assert '<pre class="flagstaff-json">{\n  &quot;a&quot;: 1\n}</pre>' in html
    assert '"paypal" if is_staff is true {"a": 1} for all others' in text
    assert "Users who get another value than the value itself: 1 of 2." in text
    assert "Who takes the money" in text
    assert "<p" not in text
    assert links_of(html) == ["Set", "Set for everyone", "Rules", "Details", "Delete"]
    assert f'href="{undo_url(value_version(KEY))}"' in html
    assert count_queries(operator, row_url(value)) <= 14
    changes.values.update(KEY, {"rules": []})
    html = page(operator, row_url(value))
    assert '{"a": 1} for everyone' in content_of(html)
    assert "Set for everyone" not in links_of(html)


def test_button_has_dots_until_the_page_shows_what_changes(operator: Client) -> None:
    url = row_url(value_of("stripe"), "set")
    assert f"Set {KEY}…" in Screen(page(operator, url)).buttons
    assert f"Set {KEY}" in Screen(question(operator, url, value='"paypal"')).buttons
    details = Screen(page(operator, row_url(KeyValueStore.objects.get(), "details")))
    assert "Save the details" in details.buttons


def test_value_of_the_url_opens_the_preview_and_is_not_written(operator: Client) -> None:
    url = row_url(value_of("stripe"), "set")
    response = operator.get(url, {"value": '"paypal"'})
    assert preview_of(response)["value"] == ['"stripe"', '"paypal"']
    assert Screen(response).focused.text == f"Set {KEY}"
    assert KeyValueStore.objects.get().value == "stripe"
    operator.post(url, confirmed(response))
    assert KeyValueStore.objects.get().value == "paypal"


def test_typed_value_that_is_not_possible_says_so_before_the_button_is_pressed(
    operator: Client,
) -> None:
    url = row_url(value_of(20, type="integer"), "set")
    typed_text = typed(operator, url, value='"many"') | {"_edit": "preview"}
    [note] = notes_of(operator.post(url, typed_text))
    assert note.startswith("Not possible: ")
    assert "integer" in note
    # Nothing is typed yet.
    assert notes_of(operator.post(url, typed_text | {"value": ""})) == []


def test_large_value_is_cut_and_kept_by_another_change(operator: Client) -> None:
    value = value_of({"text": "x" * 500_000})
    assert len(page(operator, row_url(value))) < 60_000
    act(operator, row_url(value, "details"), description="All products")
    value.refresh_from_db()
    assert (value.description, len(value.value["text"])) == ("All products", 500_000)
    act(operator, row_url(value, "set"), value='"short"')
    assert KeyValueStore.objects.get().value == "short"


@pytest.fixture
def value() -> KeyValueStore:
    with acting_as("ana"):
        return value_of(rules=RULES)


@pytest.mark.parametrize(("is_secret", "count"), [(False, 1), (True, 0)])
def test_message_after_a_new_value_links_to_its_rules(
    is_secret: bool, count: int, operator: Client
) -> None:
    arguments = {"secret": "on"} if is_secret else {}
    response = act(operator, f"{VALUES}add/", key=KEY, value="1", **arguments)
    links = " ".join(str(message.message) for message in response.context["messages"])
    url = row_url(KeyValueStore.objects.get(), "rules")
    assert links.count(f'<a href="{url}">Rules…</a>') == count


def test_value_is_any_json(operator: Client) -> None:
    url = f"{VALUES}add/"
    assert Screen(page(operator, url)).fields("value") == {"value": ""}
    texts: dict[str, Any] = {
        "25": 25,
        "false": False,
        '""': "",
        '{"a":\n [1, null]}': {"a": [1, None]},
        r'"\\u0000"': r"\u0000",
    }
    for number, (text, expected) in enumerate(texts.items()):
        act(operator, url, key=f"key_{number}", value=text)
        assert KeyValueStore.objects.get(key=f"key_{number}").value == expected


NOT_JSON = "not valid JSON (line {}, column {}); put strings in double quotes, "
NOT_DECODABLE = "a number has more than 4,300 digits, or the nesting more than 500 levels"


@pytest.mark.parametrize(
    ("problem", "texts"),
    [
        (NOT_JSON.format(1, 1), ["paypal", "'paypal'", "True"]),
        (NOT_JSON.format(2, 7), ['{"a": 1,\n "b": two}']),
        (NOT_DECODABLE, ["9" * 4_301, "[" * 100_000]),
        ("an object has a name twice; remove one", ['{"a": 1, "a": 2}']),
        ("the value is missing or null; write JSON, such as", ["", " ", "null"]),
        ("NaN", ["NaN", "[Infinity]", "1e999"]),
        ("Null characters are not allowed", [r'"\u0000"']),
        ("surrogate", [r'{"\ud800": 1}']),
    ],
)
@pytest.mark.one_in(4)
def test_text_that_is_no_value_is_refused_and_shown_again(
    problem: str, texts: list[str], operator: Client, value: KeyValueStore
) -> None:
    url = row_url(value, "set")
    for text in texts:
        response = operator.post(url, typed(operator, url, value=text))
        [error] = errors_of(response)
        assert problem in error
        shown = Screen(response)
        assert text in shown.fields().values()
        assert shown.all('[aria-invalid="true"]')
    assert KeyValueStore.objects.get().value == "stripe"


def test_object_is_shown_over_several_lines(operator: Client) -> None:
    value = value_of({"retries": {"max": 3}, "größe": 1, "c": 1.0})
    shown = Screen(page(operator, row_url(value, "set"))).fields("value")["value"]
    assert shown == '{\n  "c": 1.0,\n  "größe": 1,\n  "retries": {\n    "max": 3\n  }\n}'
    [message] = messages_of(act(operator, row_url(value, "set")))
    assert message.startswith("Nothing was changed")


def test_value_is_added_with_a_schema_unless_it_breaks_it(operator: Client) -> None:
    data = {"key": KEY, "value": '"Strpie"', "type": "string", "choices": json.dumps(GATEWAYS)}
    problem = '"Strpie" is not one of "Stripe", "PayPal"'
    assert errors_of(act(operator, f"{VALUES}add/", **data)) == [problem]
    act(operator, f"{VALUES}add/", **{**data, "value": '"Stripe"'})
    row = KeyValueStore.objects.get()
    assert (row.value, row.type, row.choices) == ("Stripe", "string", GATEWAYS)


@pytest.mark.parametrize(
    ("value", "schema", "labels"),
    [("Stripe", {"choices": GATEWAYS}, GATEWAYS), (True, {"type": "boolean"}, ["yes", "no"])],
)
def test_rules_of_choices_and_booleans_have_a_menu(
    value: object, schema: Any, labels: list[str], operator: Client
) -> None:
    url = row_url(
        value_of(value, **schema, rules=[{"conditions": [STAFF], "value": value}]), "rules"
    )
    menu = Screen(page(operator, url)).part("select[name=rules-0-value]")
    assert menu.texts("option")[-2:] == labels
    assert typed(operator, url)["rules-0-value"] == json.dumps(value)


def test_page_says_how_often_a_value_with_rules_was_evaluated(operator: Client) -> None:
    def evaluations(row: KeyValueStore) -> str:
        return Screen(page(operator, row_url(row))).section("Evaluations").text

    row = value_of(25)
    assert "Evaluations are counted only for values with rules." in evaluations(row)
    assert f"flags references {KEY}" in evaluations(row)
    delete_usage()
    for result, count in (("0", 3), ("1", 1)):
        add_usage(KEY, result, count)
    assert "4 evaluations in 24 hours, 25 % by a rule, last reported " in evaluations(row)


@pytest.mark.parametrize(
    ("now", "schema", "options", "other"),
    [
        ("Stripe", {"choices": GATEWAYS}, ['"Stripe"', '"PayPal"'], "PayPal"),
        (True, {"type": "boolean"}, ["true", "false"], False),
    ],
)
def test_choices_and_booleans_are_a_menu(
    now: object, schema: Any, options: list[str], other: object, operator: Client
) -> None:
    value = value_of(now, **schema)
    menu = Screen(page(operator, row_url(value, "set"))).part("select[name=value]")
    assert menu.attributes("option", "value") == options
    act(operator, row_url(value, "set"), value=json.dumps(other))
    value.refresh_from_db()
    assert value.value == other


def test_schema_is_changed_together_with_the_value_and_cleared(operator: Client) -> None:
    value = value_of("Stripe", type="string", choices=GATEWAYS)
    url = row_url(value, "details")
    assert errors_of(act(operator, url, choices='["Adyen"]')) == ['"Stripe" is not one of "Adyen"']
    assert errors_of(act(operator, url, choices='"Stripe"'))[0].startswith("the choices are not a")
    act(operator, url, value='"Adyen"', choices='["Adyen"]')
    assert KeyValueStore.objects.get().value == "Adyen"
    act(operator, url, type="", choices="")
    value.refresh_from_db()
    assert (value.value, value.type, value.choices) == ("Adyen", "", [])


def test_rules_are_edited_as_rows(operator: Client, enterprise: Segment) -> None:
    segment = {"conditions": [{"segment": enterprise.key}], "value": 50}
    value = value_of(10, type="integer", rules=[segment])
    url = row_url(value, "rules")
    assert typed(operator, url)["rules-0-value"] == "50"
    [error] = errors_of(act(operator, url, **{"rules-0-value": '"60"'}))
    assert "the value must be an integer" in error
    act(operator, url, **{"rules-0-value": "60", "rules-0-name": "large"})
    value.refresh_from_db()
    assert value.rules == [{"name": "large", **segment, "value": 60}]


def test_fields_that_a_project_makes_read_only_are_not_written(
    operator: Client, value: KeyValueStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeyValueStoreAdmin, "readonly_fields", ("value", "secret"))
    assert "Set" not in links_of(page(operator, row_url(value)))
    assert operator.post(row_url(value, "set"), {"value": "1"}).status_code == 403
    shown = Screen(page(operator, row_url(value, "details"))).fields()
    assert not shown.keys() & {"value", "secret"}
    act(operator, row_url(value, "details"), description="x", secret="on", value="1")
    value.refresh_from_db()
    assert (value.description, value.secret, value.value) == ("x", False, "stripe")


def test_columns_of_a_project_are_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    model = value_model_of(team=models.TextField(), weight=models.IntegerField(null=True))
    admin = KeyValueStoreAdmin(model, AdminSite())
    assert admin.check() == []
    monkeypatch.setattr("flagstaff.conf.conf.__class__.value_model", model)
    [create] = [action for action in all_actions(Kind.VALUE) if action.creates]
    fields = ArgumentFields(admin, RequestFactory().get(""), create, [], {})
    assert {"team", "weight"} < {*fields.form(is_answered=False).fields}


def test_change_asks_with_the_users_and_what_each_gets(
    operator: Client, value: KeyValueStore
) -> None:
    User.objects.create_user("bea")
    shown = question(operator, row_url(value, "set"), value='"adyen"')
    assert preview_of(shown) == {"value": ['"stripe"', '"adyen"']}
    assert notes_of(shown) == [
        "The value changes for 1 of 2 users. It changes for everybody who is not logged in.",
        'Users for whom a rule decides keep another value: rule 1 → "paypal".',
    ]
    assert KeyValueStore.objects.get().value == "stripe"
    answer(operator, shown)
    value.refresh_from_db()
    assert (value.value, value.rules) == ("adyen", RULES)


def test_value_that_rules_keep_from_all_users_is_asked_about(operator: Client) -> None:
    known = {"attribute": "is_authenticated", "operator": "in", "values": [True, False]}
    value = value_of(rules=[{"conditions": [known], "value": "paypal"}])
    shown = question(operator, row_url(value, "set"), value='"adyen"')
    assert "keep another value" in notes_of(shown)[-1]


def test_value_that_changes_for_most_users_types_the_key_in_production(
    operator: Client, settings: Any
) -> None:
    production(settings)
    # The operator is the only user.
    value = value_of(rules=[{**RULES[0], "value": "x", "rollout_percent": 0}])
    shown = question(operator, row_url(value, "set"), value='"adyen"')
    assert text_to_type(shown) == KEY
    assert problems_of(answer(operator, shown)) == ["Not confirmed: type “gateway” exactly."]
    answer(operator, shown, _typed_key=KEY)
    assert KeyValueStore.objects.get().value == "adyen"


def test_new_type_is_named_before_it_is_saved(operator: Client) -> None:
    url = row_url(value_of("25"), "set")
    note = "The value was a string and becomes a number: code that reads it may fail."
    assert note in notes_of(question(operator, url, value="25"))
    assert note not in notes_of(question(operator, url, value='"26"'))


def test_deletion_of_a_secret_says_that_it_cannot_be_brought_back(operator: Client) -> None:
    html = page(operator, row_url(value_of("hunter2", secret=True), "delete"))
    assert "A secret value cannot be brought back" in html


@pytest.fixture
def secret() -> KeyValueStore:
    return value_of("hunter2", secret=True, choices=["hunter2", "hunter3"], rules=[])


@pytest.mark.django_db(transaction=True)
def test_secret_is_on_no_page_and_in_no_filter(operator: Client) -> None:
    rules = [{"conditions": [STAFF], "value": "hunter1"}]
    secret = value_of("hunter2", secret=True, choices=["hunter1", "hunter2"], rules=rules)
    version = changes.values.set(KEY, "hunter1").version
    actions = [
        row_url(secret, action) for action in ("set", "set-for-everyone", "details", "delete")
    ]
    histories = [RECENT, row_url(secret), row_url(secret, "history")]
    for url in (VALUES, f"{VALUES}?o=-4", f"{RECENT}?format=csv", *actions, *histories):
        html = page(operator, url)
        assert KEY in html
        assert not re.search(f"hunter|sha256|undo={version}", html)
        assert ("•••••• → ••••••" in html) is (url in {VALUES, f"{VALUES}?o=-4", *histories})
    assert "created, value ••••••, " in events_of(page(operator, RECENT))[-1]
    assert "so its changes have no “Undo”." in page(operator, row_url(secret, "history"))
    assert column(page(operator, f"{VALUES}?q=hunter1"), "value_key") == []
    for lookup in ("value__icontains=hun", "value=", "choices__contains=hunter1", "rules__a=1"):
        assert operator.get(f"{VALUES}?{lookup}").status_code == 400


def test_secret_is_shown_to_who_may_change_it(operator: Client, secret: KeyValueStore) -> None:
    changes.values.update(KEY, {"rules": [{"conditions": [STAFF], "value": "hunter3"}]})
    assert "?show=1" in page(operator, row_url(secret))
    shown = page(operator, f"{row_url(secret)}?show=1")
    assert ("hunter2" in shown, "hunter3" in shown) == (True, True)
    html = page(staff("view_keyvaluestore"), f"{row_url(secret)}?show=1")
    assert ("hunter" in html, "?show=1" in html) == (False, False)


def test_secret_is_replaced_and_in_no_question(operator: Client, secret: KeyValueStore) -> None:
    shown = question(operator, row_url(secret, "set"), value='"hunter3"')
    assert "hunter2" not in shown.content.decode()
    assert preview_of(shown) == {"value": ["••••••", "••••••"]}
    changes.values.set(KEY, "hunter3")
    shown = question(operator, row_url(secret, "set"), value='"hunter2"')
    conflict = answer(operator, shown, expect_version="1")
    assert "hunter3" not in conflict.content.decode()
    response = answer(operator, conflict)
    assert (KeyValueStore.objects.get().value, undo_urls(response)) == ("hunter2", [])
    act(operator, row_url(secret, "details"), description="For the shop")
    secret.refresh_from_db()
    texts = secret.value, secret.choices, secret.description
    assert texts == ("hunter2", ["hunter2", "hunter3"], "For the shop")
    entries = [f"{log_entry}{log_entry.change_message}" for log_entry in LogEntry.objects.all()]
    assert "hunter" not in "".join([*messages_of(response), *entries])


def test_log_of_django_has_no_value_which_may_become_secret(operator: Client) -> None:
    value = value_of("hunter1")
    act(operator, row_url(value, "set"), value='"hunter2"')
    act(operator, undo_url(value_version(KEY)))
    assert KeyValueStore.objects.get().value == "hunter1"
    messages = [entry.change_message for entry in LogEntry.objects.order_by("pk")]
    assert messages == ["set: value", f"The change of “{KEY}” was undone: set: value."]


def test_secret_becomes_public_only_if_it_is_typed_and_without_rules(
    operator: Client, secret: KeyValueStore
) -> None:
    changes.values.update(KEY, {"rules": [{"conditions": [STAFF], "value": "hunter3"}]})
    url = row_url(secret, "details")

    def publish(**arguments: str) -> Any:
        data = typed(operator, url, **arguments)
        del data["secret"]
        response = operator.post(url, data)
        return (
            answer(operator, response) if asks(response) and response.context["look"] else response
        )

    assert errors_of(publish(value='"hunter3"'))[0].startswith(
        "Everybody who may view values would"
    )
    act(operator, row_url(secret, "set-for-everyone"), value='"hunter2"')
    assert errors_of(publish())[0].startswith("Everybody who may view values will see this value.")
    publish(value='"hunter3"')
    secret.refresh_from_db()
    assert (secret.secret, secret.value) == (False, "hunter3")


def test_rules_of_a_secret_are_written_in_the_terminal(
    operator: Client, secret: KeyValueStore
) -> None:
    html = page(operator, row_url(secret))
    assert "Rules" not in links_of(html)
    assert "python manage.py flags value rules gateway FILE" in html
    for method in (operator.get, operator.post):
        assert method(row_url(secret, "rules")).status_code == 403
