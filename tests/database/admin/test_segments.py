"""The admin of segments: the list, the page of a segment, and what only its actions do."""

import json
from types import ModuleType
from typing import Any

import pytest
from django.contrib.admin import AdminSite
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import path

from flagstaff import acting_as, changes
from flagstaff.actions import Kind, Percent, Text, action, all_actions, commit
from flagstaff.admin import action_page
from flagstaff.changes import Changed
from flagstaff.changes.impact import count_users
from flagstaff.history import segment_version
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from tests.support.admin_pages import (
    SEGMENTS,
    act,
    answer,
    asks,
    column,
    confirmed,
    content_of,
    errors_of,
    events_of,
    links_of,
    messages_of,
    page,
    preview_of,
    problems_of,
    production,
    question,
    restore_url,
    row_url,
    text_to_type,
    typed,
    undo_url,
)
from tests.support.conditions import condition
from tests.support.pages import names_of
from tests.support.screen import Screen
from tests.support.shop import Shop
from tests.support.sql import rows as execute

PAYING = [condition("plan", "in", "paid")]
LARGE = [*PAYING, condition("seats", "gte", 100)]
STAFF = [condition("is_staff", "in", True)]
SENTENCE = 'plan is "paid" and seats is at least 100'


@pytest.fixture
def segment() -> Segment:
    with acting_as("ana"):
        changes.segments.create("enterprise", LARGE, description="With a contract")
    return Segment.objects.get()


@pytest.fixture
def conditions_url(segment: Segment) -> str:
    return row_url(segment, "conditions")


def use(*flags: str, percent: int = 100, **fields: Any) -> None:
    """Creates flags whose rules name the segment."""
    rules = [{"conditions": [{"segment": "enterprise"}], "rollout_percent": percent}]
    for key in flags:
        FeatureFlag.objects.create(key=key, rules=rules, **fields)


def test_list_shows_key_conditions_and_use(operator: Client, segment: Segment) -> None:
    Segment.objects.create(key="unused", conditions=PAYING)
    use("a", "b")
    rules = [{"conditions": [{"segment": "enterprise"}], "value": 50}]
    KeyValueStore.objects.create(key="max_items", value=10, rules=rules)
    html = page(operator, SEGMENTS)
    assert column(html, "segment") == ["enterprise With a contract", "unused"]
    assert column(html, "short_conditions") == [SENTENCE, 'plan is "paid"']
    assert column(html, "use") == ["2 flags, 1 value", "-"]
    assert len(column(page(operator, f"{SEGMENTS}?q=contract"), "segment")) == 1


def test_page_shows_what_is_the_actions_and_the_last_changes(
    operator: Client, segment: Segment
) -> None:
    changes.segments.update("enterprise", {"description": "Large"})
    html = page(operator, row_url(segment))
    text = content_of(html)
    assert all(shown in text for shown in (SENTENCE, "Large", "no flag"))
    assert links_of(html) == ["Conditions", "Details", "Delete"]
    assert 'description "With a contract" → "Large"' in events_of(html)[0]
    assert undo_url(segment_version("enterprise")) in [url for _text, url in Screen(html).links]


def test_page_shows_how_many_users_are_in_the_segment(operator: Client, shop: Shop) -> None:
    changes.segments.create("admins", [condition("is_superuser", "in", True)])
    User.objects.bulk_create(User(username=f"u{number}") for number in range(4))
    url = row_url(Segment.objects.get())
    assert "Users in the segment: 1 of 5." in page(operator, url)
    # The numbers of rules that read attributes are for those who may view users.
    assert "Users in the segment: not counted" in page(shop.client("olga", "view_segment"), url)
    execute("UPDATE flagstaff_segment SET conditions = '\"no conditions\"'")
    assert "Users in the segment" not in page(operator, url)


def test_page_shows_unusual_conditions_escaped(operator: Client, segment: Segment) -> None:
    odd = [{"attribute": "<i>", "operator": "in", "values": ["<b>"]}, {"segment": "<a>"}]
    execute("UPDATE flagstaff_segment SET conditions = %s::jsonb", json.dumps(odd))
    screen = Screen(page(operator, row_url(segment)))
    assert '<i> is "<b>"' in screen.text
    assert not screen.all("i, b")


def test_page_links_to_what_uses_the_segment(
    operator: Client, segment: Segment, shop: Shop
) -> None:
    use("b", "a")
    flags = [FeatureFlag.objects.get(key=key) for key in ("a", "b")]
    viewer = shop.client("olga", "view_segment")
    screen = Screen(page(viewer, row_url(segment)))
    assert "2 flags" in screen.text
    assert row_url(flags[0]) not in screen.html
    shop.client("olga", "view_featureflag")
    links = {(flag.key, row_url(flag)) for flag in flags}
    assert links <= {*Screen(page(viewer, row_url(segment))).links}
    rules = [{"conditions": [{"segment": "enterprise"}], "value": 50}]
    value = KeyValueStore.objects.create(key="max_items", value=10, rules=rules)
    links.add((value.key, row_url(value)))
    assert links <= {*Screen(page(operator, row_url(segment))).links}
    use(*(f"f{number}" for number in range(51)))
    assert "and 4 more" in content_of(page(operator, row_url(segment)))


@pytest.mark.parametrize(
    ("typed_conditions", "problem"),
    [
        ([STAFF[0]] * 101, "101 conditions are too many; use at most 100"),
        (
            [{**STAFF[0], "values": ["yes"] * 1_001}],
            "condition 1: 1,001 values are too many; use at most 1,000",
        ),
        ([{**STAFF[0], "values": ["yes"]}], 'value 1 never matches "is_staff"'),
    ],
    ids=["conditions", "values", "never"],
)
def test_conditions_that_workers_cannot_read_are_refused(
    typed_conditions: object, problem: str, operator: Client, conditions_url: str
) -> None:
    text = json.dumps(typed_conditions)
    response = operator.post(conditions_url, typed(operator, conditions_url, conditions=text))
    assert response.context["form"]["conditions"].value() == text
    [error] = errors_of(response)
    assert problem in error


def press(client: Client, url: str, data: dict[str, Any], button: str) -> dict[str, Any]:
    """Presses a button of the rows, and returns what a browser would post then."""
    response = client.post(url, data | {"_edit": button})
    assert problems_of(response) == []
    assert not Screen(response).all(".errorlist")
    return Screen(response).fields()


def test_conditions_are_edited_as_rows(
    operator: Client, segment: Segment, conditions_url: str
) -> None:
    data = typed(operator, conditions_url)
    rows = {name: value for name, value in data.items() if name.startswith("conditions-0-")}
    assert rows == {
        "conditions-0-0-attribute": "plan",
        "conditions-0-0-operator": "in",
        "conditions-0-0-values": "paid",
        "conditions-0-1-attribute": "seats",
        "conditions-0-1-operator": "gte",
        "conditions-0-1-values": "100",
    }
    data = press(operator, conditions_url, data | {"_reason": "seats"}, "remove:0-0")
    # Empty rows are left out.
    for _row in range(2):
        data = press(operator, conditions_url, data, "attribute:0")
    assert data["_reason"] == "seats"
    typed_row = {"attribute": "plan", "values": "gold"}
    data |= {f"conditions-0-1-{name}": value for name, value in typed_row.items()}
    assert operator.post(conditions_url, data).status_code == 302
    segment.refresh_from_db()
    assert segment.conditions == [LARGE[1], condition("plan", "in", "gold")]


def test_change_that_users_notice_asks_before_it_is_made(
    operator: Client, segment: Segment, conditions_url: str
) -> None:
    use("a", enabled=True)
    response = question(operator, conditions_url, conditions=json.dumps(STAFF))
    rows = ", without those selected only by plan, seats"
    assert preview_of(response) == {"a": [f"0 of 1{rows}", "1 of 1"]}
    assert SENTENCE in Screen(response).texts("td.flagstaff-change")
    # Other conditions than those that were shown are another question.
    other = answer(operator, response, conditions=json.dumps(PAYING))
    assert asks(other)
    assert "a" in preview_of(other)
    assert Segment.objects.get().conditions == LARGE
    answer(operator, response)
    assert Segment.objects.get().conditions == STAFF


def test_heavier_consequence_than_was_shown_is_asked_about_again(
    operator: Client, conditions_url: str, settings: Any
) -> None:
    production(settings)
    use("a", enabled=True, percent=0)
    shown = question(operator, conditions_url, conditions=json.dumps(STAFF))
    assert text_to_type(shown) == ""
    use("b", enabled=True)
    assert text_to_type(answer(operator, shown)) == "enterprise"
    assert Segment.objects.get().conditions == LARGE


@pytest.mark.parametrize(
    ("module", "name"), [(action_page, "versions_of"), (commit, "count_users")]
)
def test_change_at_the_same_time_is_not_overwritten(
    module: ModuleType,
    name: str,
    operator: Client,
    conditions_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The change is made before the row is read, or before it is written."""
    data = typed(operator, conditions_url, conditions=json.dumps(STAFF))
    function = getattr(module, name)

    def change_first(*arguments: Any, **options: Any) -> Any:
        monkeypatch.undo()
        changes.segments.update("enterprise", {"conditions": PAYING})
        return function(*arguments, **options)

    monkeypatch.setattr(module, name, change_first)
    [problem, _change] = problems_of(operator.post(conditions_url, data))
    assert "has changed since the page was shown" in problem
    assert Segment.objects.get().conditions == PAYING


def test_deletion_after_another_one_is_not_logged(
    operator: Client, segment: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = operator.get(row_url(segment, "delete"))

    def delete_first(*arguments: Any, **options: Any) -> Any:
        monkeypatch.undo()
        changes.segments.delete("enterprise")
        return count_users(*arguments, **options)

    monkeypatch.setattr(commit, "count_users", delete_first)
    assert answer(operator, shown).status_code == 200
    assert not Segment.objects.exists()
    assert not LogEntry.objects.exists()


def test_used_segment_is_not_deleted_and_its_flags_are_named(
    operator: Client, segment: Segment
) -> None:
    url = row_url(segment, "delete")
    shown = operator.get(url)
    use("a", "b")
    refusal = "the segment 'enterprise' is used by the rules of 'a', 'b'; change these rules first."
    for response in (operator.get(url), answer(operator, shown)):
        assert errors_of(response) == [refusal]
        assert not asks(response)
    assert Segment.objects.exists()
    assert "Delete" not in links_of(page(operator, row_url(segment)))


def test_older_conditions_are_shown_in_words_and_restored(
    operator: Client, segment: Segment
) -> None:
    url = restore_url(segment_version("enterprise"))
    changes.segments.update("enterprise", {"conditions": PAYING})
    newest = events_of(page(operator, row_url(segment, "history")))[0]
    assert f'conditions {SENTENCE} → plan is "paid"' in newest
    response = operator.get(url)
    assert preview_of(response)["conditions"] == ['plan is "paid"', SENTENCE]
    operator.post(url, confirmed(response))
    assert Segment.objects.get().conditions == LARGE


@action(Kind.SEGMENT)
def limit_seats(
    key: str,
    most: Percent,
    note: Text,
    delete: Text = "nobody",
    *,
    expect_version: int | None = None,
) -> Changed:
    """Limit the seats. An argument has the name of a method."""
    fields = {"conditions": [condition("seats", "lt", most)], "description": f"{note}, {delete}"}
    return changes.segments.update(key, fields, expect_version=expect_version)


def test_action_and_section_of_a_project_are_on_the_page(
    operator: Client, segment: Segment, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions = (*all_actions(Kind.SEGMENT), limit_seats)
    monkeypatch.setattr(action_page, "all_actions", lambda _kind: actions)
    site, documented = AdminSite(), names_of("how-to/admin-set-up.md", "class OwnSegmentAdmin")
    site.register(Segment, documented["OwnSegmentAdmin"])
    settings.ROOT_URLCONF = (path("admin/", site.urls),)
    html = page(operator, row_url(segment))
    runbook = Screen(html).section("Runbook")
    assert runbook.texts("h2 a") == ["Limit seats…"]
    assert "https://wiki.shop.example/enterprise" in runbook.text
    assert links_of(html) == ["Conditions", "Details", "Delete", "Limit seats"]
    url = row_url(segment, "limit-seats")
    for most, problem in {
        "101": "Ensure this value is less than or equal to 100.",
        # Python refuses to parse so many digits.
        "9" * 5000: "Enter a whole number.",
    }.items():
        response = operator.post(url, typed(operator, url, most=most, note="few"))
        assert [field.label for field in response.context["form"]] == ["Most", "Note", "Delete"]
        assert errors_of(response) == [problem]
    act(operator, url, most="50", note="few")
    segment.refresh_from_db()
    assert segment.conditions == [condition("seats", "lt", 50)]
    # What is not typed has its default.
    assert segment.description == "few, nobody"


@pytest.mark.parametrize("version", ["0", "1", "9" * 19])
def test_version_of_a_row_that_is_created_is_ignored(version: str, operator: Client) -> None:
    data = {"key": "new", "conditions": json.dumps(PAYING), "expect_version": version}
    response = act(operator, f"{SEGMENTS}add/", **data)
    assert messages_of(response)[0].startswith("“new” was added.")
