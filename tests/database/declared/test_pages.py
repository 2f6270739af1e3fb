"""The pages of declared flags and values, with and without rows."""

import enum
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.validators import MaxValueValidator
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.utils.timezone import override

from flagstaff import Flag, Value, changes
from flagstaff.admin import FeatureFlagAdmin, KeyValueStoreAdmin
from flagstaff.admin.rights import keys_not_shown
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.admin_pages import (
    RECENT,
    event_keys,
    events_of,
    messages_of,
    page,
    show,
    staff,
    undo_url,
)
from tests.support.screen import Screen

FLAGS, VALUES = "/admin/flagstaff/featureflag/", "/admin/flagstaff/keyvaluestore/"


class Plan(enum.Enum):
    FREE = "free"
    PAID = "paid"


@pytest.fixture
def new_checkout() -> Flag:
    return Flag("new_checkout", "Checkout on one page", owner="payments")


def set_to(client: Client, url: str, value: str, **more: str) -> Screen:
    """Types a value on the page of the action, and confirms what it asks."""
    return submit(client, url, {**show(client, url).fields(), "value": value, **more})


def submit(client: Client, url: str, fields: dict[str, str]) -> Screen:
    """Posts the page of an action, and confirms what it asks."""
    screen = Screen(client.post(url, fields, follow=True))
    if {"Set page_size", "Save the details"}.intersection(screen.buttons):
        screen = Screen(client.post(url, screen.fields(), follow=True))
    return screen


def test_list_of_flags_shows_what_has_no_row(operator: Client, new_checkout: Flag) -> None:
    screen = show(operator, FLAGS).part(".flagstaff-declared")
    # Other declared flags may have a row.
    assert "Declared in code only" in screen.text
    assert "off, as declared" in screen.text
    for untrue in ("There are no flags yet", "0 flags"):
        assert untrue not in show(operator, FLAGS).text
    changes.flags.enable(new_checkout)
    assert not show(operator, FLAGS).all(".flagstaff-declared")


def test_page_of_a_flag_without_a_row_says_where_it_is_declared(
    operator: Client, new_checkout: Flag
) -> None:
    screen = show(operator, show(operator, FLAGS).link("new_checkout"))
    assert screen.heading == "new_checkout"
    for text in ("off, as declared", "Checkout on one page", "declared in tests/database/declared"):
        assert text in screen.text
    assert "Details" not in screen.text


def test_page_of_a_flag_without_a_row_turns_it_on(operator: Client, new_checkout: Flag) -> None:
    url = show(operator, f"{FLAGS}key_3Anew_checkout/change/").link("Turn on…")
    screen = show(operator, url)
    screen = Screen(operator.post(url, screen.fields(), follow=True))
    assert FeatureFlag.objects.get().enabled
    assert screen.heading == "new_checkout"
    assert "payments" in screen.text


def test_unknown_declared_key_has_no_page(operator: Client) -> None:
    assert show(operator, f"{FLAGS}key_3Aother/change/").heading != "other"


def test_list_of_values_shows_declared_ones_first_below_their_groups(operator: Client) -> None:
    Value("page_size", 20, "Products on a page", group="Catalogue")
    Value("payment_gateway", "stripe")
    KeyValueStore.objects.create(key="page_size", value=50)
    KeyValueStore.objects.create(key="other", value=1)
    screen = show(operator, VALUES)
    right = "you may change these"
    headings = [f"Catalogue {right}", f"Declared in code {right}"]
    assert screen.texts(".flagstaff-declared h2") == headings
    assert "50" in screen.all(".flagstaff-declared")[0].text
    assert "default" in screen.all(".flagstaff-declared")[1].text
    assert "other" in screen.part("#result_list").text
    assert "page_size" not in screen.part("#result_list").text


INPUTS: list[tuple[Any, str, object]] = [
    (20, "50", 50),
    (2.5, "3.5", 3.5),
    ("a", "b\r\n c ", "b\n c "),
    (True, "1", False),
    (Decimal("4.90"), "5.10", "5.10"),
    (date(2027, 3, 1), "2027-04-01", "2027-04-01"),
    (timedelta(minutes=5), "00:10:00", "00:10:00"),
    (datetime(2027, 3, 1), "2027-04-01 10:00", "2027-04-01T10:00:00"),  # noqa: DTZ001
    (Plan.FREE, "1", "paid"),
    ([1], "[2]", [2]),
]


@pytest.mark.parametrize(("default", "typed", "stored"), INPUTS, ids=str)
def test_value_is_typed_into_the_field_of_its_type(
    default: Any, typed: str, stored: object, operator: Client
) -> None:
    Value("page_size", default)
    set_to(operator, f"{VALUES}key_3Apage_size/set/", typed)
    assert KeyValueStore.objects.get().value == stored


@pytest.mark.parametrize(
    ("zone", "typed"),
    [("Asia/Tokyo", "0001-01-01 00:00"), ("Etc/GMT+12", "9999-12-31 23:59")],
)
def test_time_that_the_zone_of_the_project_does_not_have_is_refused(
    zone: str, typed: str, operator: Client
) -> None:
    Value("page_size", datetime(2027, 3, 1))  # noqa: DTZ001
    with override(zone):
        screen = set_to(operator, f"{VALUES}key_3Apage_size/set/", typed)
    assert "Enter a valid date/time." in screen.text
    assert not KeyValueStore.objects.exists()


@pytest.mark.parametrize("is_secret", [False, True])
@pytest.mark.parametrize("type_", [int, str, list, dict, Decimal])
def test_box_sets_a_nullable_value_to_null(
    type_: type[Any], is_secret: bool, operator: Client
) -> None:
    Value("page_size", type_(), null=True, secret=is_secret)
    assert show(operator, f"{VALUES}key_3Apage_size/set/").focused["name"] == "value"
    set_to(operator, f"{VALUES}key_3Apage_size/set/", "", value_none="null")
    assert KeyValueStore.objects.get().value is None


def test_menu_of_a_nullable_value_has_no_value(operator: Client) -> None:
    changes.values.set(Value("page_size", Plan.FREE, null=True), "paid")
    url = f"{VALUES}{KeyValueStore.objects.get().pk}/set/"
    assert show(operator, url).texts("option") == ["No value", "free", "paid"]
    set_to(operator, url, "")
    assert KeyValueStore.objects.get().value is None


@pytest.mark.parametrize(
    ("default", "is_secret"), [(5, False), (5, True), ("a", True), ([], False)]
)
def test_empty_input_is_not_null(default: object, is_secret: bool, operator: Client) -> None:
    Value("page_size", default, null=True, secret=is_secret)
    screen = set_to(operator, f"{VALUES}key_3Apage_size/set/", "")
    assert "Type a value, or choose “No value”." in screen.text
    assert not KeyValueStore.objects.exists()


def test_empty_input_is_the_empty_text(operator: Client) -> None:
    Value("page_size", "a", null=True)
    set_to(operator, f"{VALUES}key_3Apage_size/set/", "")
    assert KeyValueStore.objects.get().value == ""


def test_input_that_is_empty_because_there_is_no_value_is_not_the_empty_text(
    operator: Client,
) -> None:
    Value("page_size", None, type=str)
    url = f"{VALUES}key_3Apage_size/set/"
    assert "Type a value, or choose “No value”." in set_to(operator, url, "").text
    assert not KeyValueStore.objects.exists()


@pytest.fixture
def secret() -> KeyValueStore:
    """One that nobody sees: the row says that it is secret, the code that it may be None."""
    Value("page_size", "hunter1", null=True, choices=["hunter1", "hunter2"])
    changes.values.update("page_size", secret=True)
    changes.values.set("page_size", "hunter2")
    return KeyValueStore.objects.get()


@pytest.mark.parametrize(
    ("typed", "stored"), [("hunter1", "hunter1"), ('"hunter1"', "hunter1"), ("null", None)]
)
def test_secret_is_typed_as_in_the_terminal(
    typed: str, stored: object, secret: KeyValueStore, operator: Client
) -> None:
    set_to(operator, f"{VALUES}{secret.pk}/set/", typed)
    assert KeyValueStore.objects.get().value == stored


def test_secret_is_typed_or_null_but_not_both(secret: KeyValueStore, operator: Client) -> None:
    url = f"{VALUES}{secret.pk}/set/"
    screen = set_to(operator, url, "hunter1", value_none="null")
    assert "Type a value, or choose “No value”, but not both." in screen.text
    assert KeyValueStore.objects.get().value == "hunter2"


def test_details_keep_a_secret_unless_it_is_typed_or_null(
    secret: KeyValueStore, operator: Client
) -> None:
    url = f"{VALUES}{secret.pk}/details/"
    for more, stored in (({}, "hunter2"), ({"value_none": "null"}, None)):
        set_to(operator, url, "", client_side="", **more)
        assert KeyValueStore.objects.get().value == stored


def test_secret_that_becomes_public_is_typed_or_null(
    secret: KeyValueStore, operator: Client
) -> None:
    url = f"{VALUES}{secret.pk}/details/"
    fields = show(operator, url).fields()
    del fields["secret"]
    assert "Type it again to confirm." in submit(operator, url, fields).text
    submit(operator, url, {**fields, "value_none": "null"})
    row = KeyValueStore.objects.get()
    assert (row.secret, row.value) == (False, None)


def test_secret_is_not_confirmed_by_a_box_that_its_page_does_not_have(operator: Client) -> None:
    row = KeyValueStore.objects.create(key="page_size", value="hunter2", secret=True)
    url = f"{VALUES}{row.pk}/details/"
    fields = show(operator, url).fields()
    del fields["secret"]
    screen = submit(operator, url, {**fields, "value_none": "null"})
    assert "Type it again to confirm." in screen.text
    assert KeyValueStore.objects.get().secret


def test_type_of_a_wrong_secret_is_shown_to_who_may_change_it(operator: Client) -> None:
    Value("page_size", "a", secret=True)
    url = f"{VALUES}{KeyValueStore.objects.create(key='page_size', value=5).pk}/change/"
    text = "must be a string, not a number"
    assert text in show(operator, url).text
    assert text not in show(staff("view_keyvaluestore"), url).text


@pytest.mark.django_db(transaction=True)
def test_entries_from_before_code_said_that_a_value_is_secret_are_masked(operator: Client) -> None:
    changes.values.create("page_size", "hunter2")
    Value("page_size", "none", secret=True)
    url = show(operator, f"{VALUES}{KeyValueStore.objects.get().pk}/history/")
    assert "created, value ••••••" in url.text
    assert "hunter" not in url.html


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("now", ["hunter2", None])
def test_secret_that_may_be_null_is_on_no_page(
    now: str | None, secret: KeyValueStore, operator: Client
) -> None:
    changes.values.set("page_size", now)
    pages = [f"{VALUES}{secret.pk}/{name}/" for name in ("change", "set", "details", "history")]
    for url in (VALUES, *pages):
        screen = show(operator, url)
        assert "page_size" in screen.text
        assert "hunter" not in screen.html
        assert "checked" not in "".join(box.html for box in screen.all("[name=value_none]"))


def test_rule_gives_null_where_it_is_declared(operator: Client) -> None:
    changes.values.set(Value("page_size", 20, null=True), 50)
    url = f"{VALUES}{KeyValueStore.objects.get().pk}/rules/"
    rule = {"rules-0-rollout_percent": "50", "rules-0-value": "null"}
    screen = Screen(operator.post(url, {**show(operator, url).fields(), **rule}, follow=True))
    operator.post(url, screen.fields(), follow=True)
    rules = [{"conditions": [], "rollout_percent": 50, "value": None}]
    assert KeyValueStore.objects.get().rules == rules


def test_value_that_a_validator_refuses_is_a_problem_of_the_form(operator: Client) -> None:
    Value("page_size", 20, validators=[MaxValueValidator(100)])
    screen = set_to(operator, f"{VALUES}key_3Apage_size/set/", "101")
    assert "less than or equal to 100" in screen.text
    assert not KeyValueStore.objects.exists()


def fails_above_100(number: int) -> None:
    if number > 100:
        raise ValueError


def test_validator_that_fails_is_a_problem_of_the_form(operator: Client) -> None:
    Value("page_size", 20, validators=[fails_above_100])
    screen = set_to(operator, f"{VALUES}key_3Apage_size/set/", "101")
    assert "a validator fails with ValueError" in screen.text
    assert not KeyValueStore.objects.exists()


def test_page_of_a_value_names_a_wrong_one(operator: Client) -> None:
    Value("page_size", 20, validators=[MaxValueValidator(100)])
    row = KeyValueStore.objects.create(key="page_size", value="20")
    alarm = show(operator, f"{VALUES}{row.pk}/change/").part(".flagstaff-alarm")
    assert "must be an integer, not a string" in alarm.text
    KeyValueStore.objects.update(value=101)
    alarm = show(operator, f"{VALUES}{row.pk}/change/").part(".flagstaff-alarm")
    assert "less than or equal to 100" in alarm.text


def test_page_of_a_value_sets_it_back_to_the_default(operator: Client) -> None:
    Value("page_size", 20)
    row = KeyValueStore.objects.create(key="page_size", value=50)
    url = show(operator, f"{VALUES}{row.pk}/change/").link("Back to the default…")
    screen = show(operator, url)
    assert ["page_size", "50", "20, as declared"] in screen.rows
    response = operator.post(url, screen.fields(), follow=True)
    assert messages_of(response)[0].startswith("“page_size” is back at the default.")
    assert not KeyValueStore.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_changes_say_that_a_value_is_back_at_the_default(operator: Client) -> None:
    Value("page_size", 20, "Products on a page")
    changes.values.set("page_size", 50)
    changes.values.delete("page_size")
    html = page(operator, RECENT)
    assert event_keys(html) == ["page_size value"] * 2
    newest, before = events_of(html)
    assert newest.startswith("page_size value back to the default, previously 50 database user ")
    assert "declared" not in before


@pytest.mark.django_db(transaction=True)
def test_changes_say_that_a_flag_is_back_at_what_is_declared(
    operator: Client, new_checkout: Flag
) -> None:
    for fields, previously in (
        ({"enabled": True, "rollout_percent": 100}, "on, rollout 100 %"),
        ({"enabled": False, "rollout_percent": 25}, "off, rollout 25 %"),
    ):
        changes.flags.update(new_checkout, fields)
        changes.flags.delete(new_checkout)
        newest, *_others = events_of(page(operator, RECENT))
        text = f"new_checkout back to what is declared, previously {previously} database user "
        assert newest.startswith(text)


@pytest.mark.django_db(transaction=True)
def test_change_does_not_name_what_it_has_written_of_the_code(operator: Client) -> None:
    row = KeyValueStore.objects.create(key="page_size", value=0)
    Value("page_size", 0, "Products on a page")
    changes.values.set("page_size", 50)
    newest, *_others = events_of(page(operator, f"{RECENT}?key={row.key}"))
    assert newest.startswith("page_size value 0 → 50 database user ")


def test_deletion_and_its_kind_of_undo_say_what_code_declares_instead(
    operator: Client, new_checkout: Flag
) -> None:
    Value("page_size", 20)
    for created, after in (
        (changes.flags.update(new_checkout, enabled=True, rollout_percent=100), "off, as declared"),
        (changes.values.set("page_size", 50), "20, as declared"),
    ):
        screen = show(operator, undo_url(created.version))
        assert [row[2] for row in screen.rows if row[0] == created.key] == [after]
        assert "its own default" not in screen.text
    url = f"{FLAGS}{FeatureFlag.objects.get().pk}/delete/"
    screen = show(operator, url)
    now = "On for all users, and for everybody who is not logged in."
    assert ["new_checkout", now, "off, as declared"] in screen.rows
    assert "its own default" not in screen.text
    staff_only = [{"attribute": "is_staff", "operator": "in", "values": [True]}]
    changes.flags.update(new_checkout, rules=[{"conditions": staff_only, "rollout_percent": 50}])
    row = next(row for row in show(operator, url).rows if row[0] == "new_checkout")
    assert row[2] == "off, as declared, without its rules"


def test_deletion_of_a_declared_flag_says_that_it_is_off_as_declared(
    operator: Client, new_checkout: Flag
) -> None:
    created = changes.flags.enable(new_checkout)
    gone = "What was stored for “new_checkout” was deleted: it is off, as declared."
    url = undo_url(created.version)
    undone = operator.post(url, show(operator, url).fields(), follow=True)
    assert messages_of(undone)[0].startswith(gone)
    changes.flags.enable(new_checkout)
    url = f"{FLAGS}{FeatureFlag.objects.get().pk}/delete/"
    deleted = operator.post(url, show(operator, url).fields(), follow=True)
    assert messages_of(deleted)[0].startswith(gone)
    assert "off, as declared" in show(operator, FLAGS).part(".flagstaff-declared").text


def test_right_of_a_group_is_a_method_of_the_admin(
    admin_user: User, monkeypatch: pytest.MonkeyPatch, operator: Client
) -> None:
    def refuse(_admin: KeyValueStoreAdmin, _request: HttpRequest, group: str) -> bool:
        return group != "Catalogue"

    monkeypatch.setattr(KeyValueStoreAdmin, "has_group_permission", refuse)
    Value("page_size", 20, group="Catalogue")
    Value("payment_gateway", "stripe")
    screen = show(operator, VALUES)
    assert screen.texts(".flagstaff-declared h2") == [
        "Catalogue you may view these",
        "Declared in code you may change these",
    ]
    assert operator.get(f"{VALUES}key_3Apage_size/set/").status_code == 403
    assert operator.get(f"{VALUES}key_3Apayment_gateway/set/").status_code == 200


def test_key_without_a_row_that_a_person_may_not_view_is_in_no_message(
    new_checkout: Flag, rf: RequestFactory, admin_user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_shown_to(user: User) -> bool:
        request = rf.get("/")
        request.user = user
        return new_checkout in keys_not_shown(admin.site, request, FeatureFlag)

    def may_view(_admin: object, _request: HttpRequest, obj: FeatureFlag | None = None) -> bool:
        return obj is None or obj.key != new_checkout

    assert not_shown_to(User.objects.create_user("alice", is_staff=True))
    assert not not_shown_to(admin_user)
    monkeypatch.setattr(FeatureFlagAdmin, "has_view_permission", may_view)
    assert not_shown_to(admin_user)


def test_row_with_a_declared_key_that_a_person_may_view_is_not_hidden(
    new_checkout: Flag, rf: RequestFactory, admin_user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, request = FeatureFlag.objects.create(key=new_checkout), rf.get("/")
    request.user = admin_user

    def may_view(_admin: object, _request: HttpRequest, obj: FeatureFlag | None = None) -> bool:
        return obj is None or obj.pk == row.pk

    monkeypatch.setattr(FeatureFlagAdmin, "has_view_permission", may_view)
    assert not keys_not_shown(admin.site, request, FeatureFlag)
