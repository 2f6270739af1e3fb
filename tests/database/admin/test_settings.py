"""Every page of the admin under settings of other projects: time zones, languages and formats."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.utils.formats import reset_format_cache
from pytest_django import Settings

from flagstaff.changes import create, create_segment, set_rollout, set_value
from flagstaff.history import as_dicts, flag_history, value_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from tests.support.admin_pages import FLAGS, SEGMENTS, VALUES, column, page, post_confirmed, toggle_url
from tests.support.terminals import delete_usage, flags

# Each change is a transaction of its own, as in production. `available_apps` makes Django's flush
# after each test fast.
pytestmark = pytest.mark.django_db(transaction=True, available_apps=django_settings.INSTALLED_APPS)

# Ids have this many digits, so that a localized id has a separator.
FIRST_ID = 12_345
VARIANTS: dict[str, dict[str, Any]] = {
    "naive times": {"USE_TZ": False, "TIME_ZONE": "Europe/Berlin"},
    "German numbers": {"USE_THOUSAND_SEPARATOR": True, "LANGUAGE_CODE": "de"},
    "own formats": {"USE_THOUSAND_SEPARATOR": True, "FORMAT_MODULE_PATH": "tests.support.formats"},
}


Use = Callable[[dict[str, Any]], None]


@pytest.fixture
def use(settings: Settings) -> Iterator[Use]:
    """Changes settings of the project."""

    def change(changed: dict[str, Any]) -> None:
        for name, value in changed.items():
            setattr(settings, name, value)
        reset_format_cache()

    yield change
    reset_format_cache()
    # The connection has read the time zone.
    connection.close()


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest, use: Use) -> str:
    """A project with these settings."""
    use(VARIANTS[request.param])
    return str(request.param)


@pytest.fixture(autouse=True)
def large_ids() -> None:
    """Deletes the entries of other tests, and makes new ids large."""
    Change.objects.all().delete()
    with connection.cursor() as cursor:
        for table in ("change", "featureflag", "keyvaluestore", "segment"):
            cursor.execute(
                f"SELECT setval(pg_get_serial_sequence('flagstaff_{table}', 'id'), %s)", [FIRST_ID]
            )


@pytest.fixture
def rows() -> dict[str, Any]:
    """A flag, a value and a segment; the first two with a history of several versions."""
    create_segment("german", [{"attribute": "country", "operator": "in", "values": ["DE"]}])
    create("new_checkout", rollout_percent=25, description="One page")
    flag = FeatureFlag.objects.get()
    flag.allowed_users.add(User.objects.create(username="alice"))
    value = KeyValueStore.objects.create(key="gateway", value="stripe")
    with transaction.atomic():
        set_rollout("new_checkout", 50)
        set_value("gateway", "paypal")
    return {FLAGS: flag, VALUES: value, SEGMENTS: Segment.objects.get()}


class _Html(HTMLParser):
    """The elements that a browser acts on: forms, their fields and buttons, links and anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.buttons: list[dict[str, str | None]] = []
        self.hidden: dict[str, str] = {}
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids.add(found.get("id") or "")
        if tag == "a" and found.get("href"):
            self.links.append(str(found["href"]))
        if tag == "button" and found.get("name"):
            self.buttons.append(found)
        if tag == "input" and found.get("type") == "hidden" and found.get("name"):
            self.hidden[str(found["name"])] = found.get("value") or ""

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def html_of(response: Any) -> _Html:
    assert response.status_code == 200
    return _Html(response.content.decode())


def press(client: Client, url: str, response: Any, name: str, place: int = 0) -> Any:
    """Presses one of the buttons of this name, as a browser does."""
    html = html_of(response)
    button = [one for one in html.buttons if one["name"] == name][place]
    return client.post(url, {**html.hidden, name: button["value"]}, follow=True)


@pytest.mark.parametrize("view", ["", "add/", "{}/change/", "{}/delete/", "{}/history/"])
def test_page_opens(view: str, variant: str, operator: Client, rows: dict[str, Any]) -> None:
    for models, row in rows.items():
        html_of(operator.get(models + view.format(row.pk)))


def test_evaluations_of_a_flag_are_shown(
    variant: str, operator: Client, rows: dict[str, Any]
) -> None:
    # Another test may have opened it, with another time zone.
    connection.close()
    key = rows[FLAGS].key
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO flagstaff_usage SELECT date_trunc('hour', now(), 'UTC'), %s, true, 1, 2, "
            "now() ON CONFLICT DO NOTHING",
            [key],
        )
    try:
        assert 'class="flagstaff-true"' in page(operator, f"{FLAGS}{rows[FLAGS].pk}/change/")
        assert key in page(operator)
    finally:
        with transaction.atomic():
            delete_usage()


def test_delete_action_page_opens(variant: str, operator: Client, rows: dict[str, Any]) -> None:
    for models, row in rows.items():
        html_of(operator.post(models, {"action": "delete_selected", "_selected_action": row.pk}))


def test_links_of_list_turn_flag_on_and_off(
    variant: str, operator: Client, rows: dict[str, Any]
) -> None:
    for view, enabled in (("turn-on", True), ("kill", False)):
        [url] = [one for one in html_of(operator.get(FLAGS)).links if f"/{view}/" in one]
        response = press(operator, url, operator.get(url), "_confirm")
        assert response.redirect_chain[-1][0].startswith(FLAGS)
        assert FeatureFlag.objects.get().enabled is enabled


def test_page_of_allowed_users_removes_and_adds(
    variant: str, operator: Client, rows: dict[str, Any]
) -> None:
    url = f"{FLAGS}{rows[FLAGS].pk}/allowed-users/"
    alice = rows[FLAGS].allowed_users.get().pk
    hidden = html_of(operator.get(url)).hidden
    operator.post(url, {**hidden, "user": alice, "_remove": "1"})
    assert rows[FLAGS].allowed_users.count() == 0
    operator.post(url, {**hidden, "names": str(alice), "_add": "1"})
    assert rows[FLAGS].allowed_users.get().pk == alice


def test_form_saves_change(variant: str, operator: Client, rows: dict[str, Any]) -> None:
    url = f"{FLAGS}{rows[FLAGS].pk}/change/"
    data = html_of(operator.get(url)).hidden
    fields = {"rollout_percent": 60, "kind": "ops", "description": "Two pages"}
    post_confirmed(operator, url, {**data, **fields})
    flag = FeatureFlag.objects.get()
    assert (flag.rollout_percent, flag.kind, flag.description) == (60, "ops", "Two pages")
    assert flag.allowed_users.count() == 1


def test_undo_button_undoes(variant: str, operator: Client, rows: dict[str, Any]) -> None:
    for models, undone in ((FLAGS, ("rollout_percent", 25)), (VALUES, ("value", "stripe"))):
        url = f"{models}{rows[models].pk}/history/"
        press(operator, url, operator.get(url), "_undo")
        rows[models].refresh_from_db()
        assert getattr(rows[models], undone[0]) == undone[1]


def test_restore_button_previews_and_restores(
    variant: str, operator: Client, rows: dict[str, Any]
) -> None:
    for models, restored in ((FLAGS, ("rollout_percent", 25)), (VALUES, ("value", "stripe"))):
        url = f"{models}{rows[models].pk}/history/"
        preview = press(operator, url, operator.get(url), "_restore", -1)
        press(operator, url, preview, "_restore")
        rows[models].refresh_from_db()
        assert getattr(rows[models], restored[0]) == restored[1]


def test_undo_all_button_confirms_and_undoes(
    variant: str, operator: Client, rows: dict[str, Any]
) -> None:
    url = f"{FLAGS}{rows[FLAGS].pk}/history/"
    confirmation = press(operator, url, operator.get(url), "_undo_all")
    press(operator, url, confirmation, "_undo_all")
    assert FeatureFlag.objects.get().rollout_percent == 25
    assert KeyValueStore.objects.get().value == "stripe"


def test_link_to_older_entries_leads_to_older_entries(
    variant: str, operator: Client, rows: dict[str, Any]
) -> None:
    for percent in range(55):
        set_rollout("new_checkout", percent)
    url = f"{FLAGS}{rows[FLAGS].pk}/history/"
    [older] = [one for one in html_of(operator.get(url)).links if one.startswith("?before=")]
    [before] = parse_qs(urlsplit(older).query)["before"]
    shown = {one for one in html_of(operator.get(url + older)).ids if one.startswith("version-")}
    assert shown
    assert all(int(one.removeprefix("version-")) < int(before) for one in shown)


def test_link_to_related_change_leads_to_its_row(
    variant: str, operator: Client, rows: dict[str, Any]
) -> None:
    html = html_of(operator.get(f"{FLAGS}{rows[FLAGS].pk}/history/"))
    [link] = [urlsplit(one) for one in html.links if "#version-" in one]
    assert link.fragment == f"version-{value_version('gateway')}"
    assert link.fragment in html_of(operator.get(link.path)).ids


# Times and numbers.

TIME = datetime(2026, 7, 9, 21, 7, 15, tzinfo=timezone.utc)


def set_time_of_changes() -> None:
    Change.objects.update(at=TIME)
    FeatureFlag.objects.update(changed_at=TIME)


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({"TIME_ZONE": "UTC"}, "July 9, 2026, 21:07:15 UTC"),
        ({"TIME_ZONE": "Europe/Berlin"}, "July 9, 2026, 23:07:15 CEST"),
        ({"TIME_ZONE": "Europe/Berlin", "USE_TZ": False}, "July 9, 2026, 23:07:15 CEST"),
        ({"TIME_ZONE": "Europe/Berlin", "LANGUAGE_CODE": "de"}, "9. Juli 2026, 23:07:15 CEST"),
        ({"TIME_ZONE": "UTC", "FORMAT_MODULE_PATH": "tests.support.formats"}, "2026/07/09, 21:07:15 UTC"),
    ],
    ids=str,
)
def test_time_of_change_has_seconds_and_time_zone(
    changed: dict[str, Any],
    shown: str,
    operator: Client,
    rows: dict[str, Any],
    use: Use,
) -> None:
    use(changed)
    set_time_of_changes()
    url = f"{FLAGS}{rows[FLAGS].pk}/history/"
    response = operator.get(url)
    assert f">{shown}</time>" in response.content.decode()
    preview = press(operator, url, response, "_restore")
    assert shown in preview.context["flagstaff_question"]
    assert f'title="{shown}"' in page(operator, FLAGS)


def test_time_of_exported_event_has_utc_offset_with_naive_times(
    rows: dict[str, Any], use: Use
) -> None:
    use({"TIME_ZONE": "Europe/Berlin", "USE_TZ": False})
    set_time_of_changes()
    assert as_dicts(flag_history("new_checkout"))[0]["at"] == "2026-07-09T23:07:15+02:00"


def test_time_in_output_of_command_has_utc_offset_with_naive_times(
    rows: dict[str, Any], use: Use
) -> None:
    use({"TIME_ZONE": "Europe/Berlin", "USE_TZ": False})
    set_time_of_changes()
    assert json.loads(flags("list", "--json").out)[0]["changed_at"] == "2026-07-09T23:07:15+02:00"
    assert "2026-07-09T23:07:15+02:00" in flags("list").out.split("\t")


@pytest.mark.parametrize(
    ("changed", "number"),
    [
        ({}, "1,200"),
        ({"LANGUAGE_CODE": "de"}, "1.200"),
        ({"FORMAT_MODULE_PATH": "tests.support.formats"}, "1_200"),
    ],
    ids=str,
)
def test_number_of_users_has_separators_of_the_language(
    changed: dict[str, Any],
    number: str,
    operator: Client,
    rows: dict[str, Any],
    use: Use,
) -> None:
    use(changed)
    users = User.objects.bulk_create([User(username=f"user{n}") for n in range(1_200)])
    rows[FLAGS].allowed_users.set(users)
    assert column(page(operator), "allowed") == [number]
    for view in ("change", "history"):
        assert number in page(operator, f"{FLAGS}{rows[FLAGS].pk}/{view}/")
    confirmation = html_of(operator.get(toggle_url(rows[FLAGS], "turn-on")))
    assert confirmation.texts.count(number) == 2
