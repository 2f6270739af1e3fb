"""A value that only SQL can write, because Python cannot decode it: shown, replaced, deleted."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from flagstaff._text.json_text import UnreadableJson, read_columns
from flagstaff.changes import delete_value, restore_value, set_value, undo_value, update_value
from flagstaff.exceptions import FlagstaffError, InvalidChangeError
from flagstaff.history import as_csv, as_dicts, value_history, value_version
from flagstaff.models import Change, KeyValueStore
from flagstaff.serialization import export
from tests.support.admin_pages import VALUES, column, errors, form_data, messages_of, page, staff
from tests.support.documents import import_text
from tests.support.terminals import flags

pytestmark = pytest.mark.django_db
# Each change is a transaction of its own, as in production.
EVENTS = pytest.mark.django_db(transaction=True)

DIGITS = "it has a number of more than 4,300 digits"
DEEP = "it is nested deeper than 500 levels"
UNREADABLE = {
    "digits": ("1e5000", DIGITS),
    "member": ('{"a": [1, {"b": -1e5000}], "c": "}, {"}', DIGITS),
    "deep": ("[" * 3_000 + "]" * 3_000, DEEP),
}


@pytest.fixture(params=UNREADABLE)
def problem(request: pytest.FixtureRequest) -> str:
    """Writes an unreadable value `limit` beside `page_size`. Returns what is wrong with it."""
    text, problem = UNREADABLE[request.param]
    # A flush keeps the entries of other tests.
    Change.objects.filter(key="limit").delete()
    KeyValueStore.objects.create(key="page_size", value=20)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('limit', %s)", [text]
        )
    return problem


def pk() -> int:
    found: int = KeyValueStore.objects.values_list("pk", flat=True).get(key="limit")
    return found


def stored() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT value::text FROM flagstaff_keyvaluestore WHERE key = 'limit'")
        [[text]] = cursor.fetchall()
    return str(text)


# The admin.


def test_list_shows_unreadable_value_beside_the_others(problem: str, admin_client: Client) -> None:
    shown = column(page(admin_client, VALUES), "shown_value")
    assert shown == [f"unreadable: {problem}", "20"]


def test_change_page_of_unreadable_value_has_an_empty_field(
    problem: str, admin_client: Client
) -> None:
    url = f"{VALUES}{pk()}/change/"
    assert form_data(admin_client.get(url))["value"] == ""
    assert f"The stored value is unreadable: {problem}." in page(admin_client, url)


def test_unreadable_value_is_replaced_on_the_change_page(
    problem: str, admin_client: Client
) -> None:
    url = f"{VALUES}{pk()}/change/"
    data = form_data(admin_client.get(url))
    assert errors(admin_client, url, data)["value"] == [
        'the value is missing or null; write JSON, such as "stripe", 25 or []'
    ]
    assert admin_client.post(url, {**data, "value": "50"}).status_code == 302
    assert stored() == "50"


def test_unreadable_value_is_deleted_in_the_admin(problem: str, admin_client: Client) -> None:
    url = f"{VALUES}{pk()}/delete/"
    assert "limit" in page(admin_client, url)
    assert admin_client.post(url, {"post": "yes"}).status_code == 302
    assert not KeyValueStore.objects.filter(key="limit").exists()


def test_viewer_sees_why_value_is_unreadable(problem: str) -> None:
    assert f"unreadable: {problem}" in page(staff("view_keyvaluestore"), f"{VALUES}{pk()}/change/")


@EVENTS
@pytest.mark.parametrize("problem", ["digits", "member"], indirect=True)
def test_history_page_shows_unreadable_value(problem: str, admin_client: Client) -> None:
    set_value("limit", 50)
    html = page(admin_client, f"{VALUES}{pk()}/history/")
    assert 'name="_undo"' not in html
    assert f"value unreadable: {problem} → 50" in html
    assert f"created, value unreadable: {problem}" in html


# Changes.


def test_unreadable_value_is_set(problem: str) -> None:
    changed = set_value("limit", 50)
    assert (changed.written, changed.new, changed.undo) == (True, 50, None)
    assert stored() == "50"


def test_text_of_an_unreadable_value_is_another_value(problem: str) -> None:
    assert set_value("limit", str(stored())).written


def test_other_field_beside_unreadable_value_is_changed(problem: str) -> None:
    before = stored()
    assert update_value("limit", {"description": "per hour"}).written
    assert stored() == before


def test_unreadable_value_is_deleted(problem: str) -> None:
    changed = delete_value("limit")
    assert (changed.written, changed.undo) == (True, None)


@EVENTS
def test_undo_to_an_unreadable_value_is_refused(problem: str) -> None:
    set_value("limit", 50)
    with pytest.raises(InvalidChangeError, match="Python cannot decode the value that limit had"):
        undo_value("limit")
    assert stored() == "50"


@EVENTS
def test_restore_of_an_unreadable_value_is_refused(problem: str, admin_client: Client) -> None:
    version = value_version("limit") or 0
    set_value("limit", 50)
    with pytest.raises(InvalidChangeError, match="Python cannot decode the value that limit had"):
        restore_value("limit", to=version)
    url = f"{VALUES}{pk()}/history/"
    response = admin_client.post(url, {"_restore": version}, follow=True)
    assert "Not saved: Python cannot decode" in messages_of(response)[0]


def restorable(client: Client) -> list[int]:
    """Returns the versions that the history page offers to restore."""
    html = page(client, f"{VALUES}{pk()}/history/")
    return [int(version) for version in re.findall(r'name="_restore" value="(\d+)"', html)]


@EVENTS
def test_restore_of_an_unreadable_value_is_not_offered(problem: str, admin_client: Client) -> None:
    unreadable = value_version("limit") or 0
    update_value("limit", {"description": "per hour"})
    described = value_version("limit") or 0
    set_value("limit", 50)
    fifty = value_version("limit") or 0
    set_value("limit", 60)
    offered = restorable(admin_client)
    assert fifty in offered
    assert not {unreadable, described} & {*offered}


@EVENTS
def test_undo_to_an_unreadable_value_is_not_offered(problem: str, admin_client: Client) -> None:
    set_value("limit", 50)
    assert 'name="_undo"' not in page(admin_client, f"{VALUES}{pk()}/history/")


@EVENTS
def test_undo_of_another_field_is_offered_beside_an_unreadable_value(
    problem: str, admin_client: Client
) -> None:
    update_value("limit", {"description": "per hour"})
    assert 'name="_undo"' in page(admin_client, f"{VALUES}{pk()}/history/")


@EVENTS
def test_restore_is_offered_beside_an_unreadable_value_that_stays(
    problem: str, admin_client: Client
) -> None:
    version = value_version("limit") or 0
    update_value("limit", {"description": "per hour"})
    assert restorable(admin_client) == [version]
    restore_value("limit", to=version)


@EVENTS
def test_other_field_of_an_unreadable_version_is_undone(problem: str) -> None:
    before = stored()
    update_value("limit", {"description": "per hour"})
    assert undo_value("limit").written
    assert stored() == before
    assert KeyValueStore.objects.values_list("description", flat=True).get(key="limit") == ""


@EVENTS
def test_unreadable_value_is_not_created_again(problem: str) -> None:
    delete_value("limit")
    with pytest.raises(InvalidChangeError, match="Python cannot decode the value that limit had"):
        undo_value("limit")


# The terminal.


def test_value_list_shows_unreadable_value(problem: str) -> None:
    rows = [line.split("\t")[:2] for line in flags("value", "list").out.splitlines()]
    assert rows == [["limit", f"unreadable: {problem}"], ["page_size", "20"]]
    limit, page_size = json.loads(flags("value", "list", "--json").out)
    assert (limit["value"], limit["problem"], page_size["value"]) == (None, problem, 20)


def test_value_get_of_an_unreadable_value_fails(problem: str) -> None:
    ran = flags("value", "get", "limit")
    assert (ran.status, ran.out) == (1, "")
    assert f"the value 'limit' cannot be decoded: {problem}; set it to another value" in ran.err


def test_unreadable_value_is_set_in_a_terminal(problem: str) -> None:
    ran = flags("value", "set", "limit", "50")
    assert ran.status == 0
    assert f"limit: value unreadable: {problem} → 50" in ran.err
    assert "undo:" not in ran.err


def test_history_of_an_unreadable_value_is_printed(problem: str) -> None:
    assert f"unreadable: {problem}" in flags("history", "limit", "--value").out
    [event] = json.loads(flags("history", "limit", "--value", "--json").out)
    [value] = [one["new"] for one in event["differences"] if one["field"] == "value"]
    assert value == stored()


# The history and files.


def test_event_of_an_unreadable_value_keeps_its_other_fields(problem: str) -> None:
    [event] = value_history("limit")
    fields = {one.field: one.new for one in event.differences}
    assert isinstance(fields["value"], UnreadableJson)
    assert (fields["key"], fields["secret"]) == ("limit", False)
    assert json.loads(json.dumps(as_dicts([event])))[0]["key"] == "limit"
    assert "limit" in as_csv([event])
    assert Change.objects.get(key="limit").new["description"] == ""


def test_export_of_an_unreadable_value_is_refused(problem: str) -> None:
    with pytest.raises(FlagstaffError, match=f"the value 'limit' cannot be exported: {problem}"):
        export()
    assert export(["page_size"])["values"]["page_size"]["value"] == 20


def test_import_replaces_an_unreadable_value(problem: str) -> None:
    import_text(json.dumps({"flagstaff": 1, "values": {"limit": {"value": 50}}}), "json")
    assert stored() == "50"


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"key": "a"},
        {'a"b\\': {"}": "{", ",": [":"]}, "c:": [1, {"d": None}], "e": "\\"},
    ],
)
def test_columns_are_read_as_json(row: dict[str, Any]) -> None:
    long = {**row, "value": [[]]}
    text = json.dumps(long, indent=1).replace("[\n  []\n ]", "[" * 501 + "]" * 501)
    found = read_columns(text)
    assert isinstance(found.pop("value"), UnreadableJson)
    assert found == row
    assert read_columns(json.dumps(row)) == row
