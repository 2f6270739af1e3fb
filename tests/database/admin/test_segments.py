"""The admin of segments: the list, the page of a segment, and its actions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.admin import AdminSite
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import path

from flagstaff import acting_as, changes
from flagstaff.actions import Kind, Percent, Text, action, all_actions
from flagstaff.admin import question, row_page
from flagstaff.changes import Changed
from flagstaff.changes.impact import impact_of_changes
from flagstaff.history import segment_version
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from flagstaff.validators import condition_problem
from tests.support.admin_pages import (
    FLAGS,
    SEGMENTS,
    VALUES,
    act,
    answer,
    asks,
    column,
    confirmed,
    count_queries,
    errors_of,
    events_of,
    links_of,
    messages_of,
    page,
    permit,
    preview_of,
    problems_of,
    production,
    restore_url,
    staff,
    text_to_type,
    typed,
    undo_url,
)
from tests.support.conditions import condition
from tests.support.pages import names_of
from tests.support.screen import Screen
from tests.support.sql import rows as execute

pytestmark = pytest.mark.django_db

PAYING = [condition("plan", "in", "paid")]
LARGE = [*PAYING, condition("seats", "gte", 100)]
STAFF = [condition("is_staff", "in", True)]
SENTENCE = 'plan is "paid" and seats is at least 100'


@pytest.fixture
def segment() -> Segment:
    with acting_as("ana"):
        changes.segments.create("enterprise", LARGE, description="With a contract")
    return Segment.objects.get()


def use(segment: str, *flags: str, **fields: Any) -> None:
    """Creates flags whose rules name the segment."""
    for key in flags:
        rules = [{"conditions": [{"segment": segment}]}]
        FeatureFlag.objects.create(key=key, rules=rules, **fields)


def store(conditions: object) -> None:
    """Writes any JSON by SQL."""
    execute("UPDATE flagstaff_segment SET conditions = %s::jsonb", json.dumps(conditions))


def url_of(segment: Segment, view: str = "change") -> str:
    return f"{SEGMENTS}{segment.pk}/{view}/"


# The list.


def test_list_shows_key_conditions_and_use(operator: Client, segment: Segment) -> None:
    Segment.objects.create(key="unused", conditions=PAYING)
    use("enterprise", "a", "b")
    rules = [{"conditions": [{"segment": "enterprise"}], "value": 50}]
    KeyValueStore.objects.create(key="max_items", value=10, rules=rules)
    html = page(operator, SEGMENTS)
    assert column(html, "segment") == ["enterprise With a contract", "unused"]
    assert column(html, "short_conditions") == [SENTENCE, 'plan is "paid"']
    assert column(html, "use") == ["2 flags, 1 value", "-"]
    assert len(column(page(operator, f"{SEGMENTS}?q=contract"), "segment")) == 1


def test_list_reads_the_rules_once(operator: Client, segment: Segment) -> None:
    use("enterprise", "a")
    before = count_queries(operator, SEGMENTS)
    for number in range(20):
        Segment.objects.create(key=f"s{number}", conditions=PAYING)
        use(f"s{number}", f"f{number}")
    assert count_queries(operator, SEGMENTS) == before


# The page.


def test_page_shows_what_is_the_actions_and_the_last_changes(
    operator: Client, segment: Segment
) -> None:
    changes.segments.update("enterprise", {"description": "Large"}, expect_version=None)
    html = page(operator, url_of(segment))
    text = Screen(html).text
    assert SENTENCE in text
    assert "Large" in text
    assert "no flag" in text
    assert links_of(html) == ["Conditions", "Details", "Delete"]
    assert 'description "With a contract" → "Large"' in events_of(html)[0]
    assert f'href="{undo_url(segment_version("enterprise"))}"' in html
    assert count_queries(operator, url_of(segment)) <= 20


def test_page_shows_how_many_users_are_in_the_segment(operator: Client) -> None:
    condition = {"attribute": "is_superuser", "operator": "in", "values": [True]}
    segment = changes.segments.create("admins", [condition])
    User.objects.bulk_create(User(username=f"u{number}") for number in range(4))
    url = url_of(Segment.objects.get(key=segment.key))
    assert "Users in the segment: 1 of 5." in page(operator, url)
    # The numbers of rules that read attributes are for those who may view users.
    assert "Users in the segment: not counted" in page(staff("view_segment"), url)
    store("no conditions")
    assert "Users in the segment" not in page(operator, url)


def test_page_shows_unusual_conditions_escaped(operator: Client, segment: Segment) -> None:
    store([{"attribute": "<i>", "operator": "in", "values": ["<b>"]}, {"segment": "<a>"}])
    screen = Screen(page(operator, url_of(segment)))
    assert '<i> is "<b>"' in screen.text
    assert not screen.all("i, b")


def test_page_links_to_what_uses_the_segment(operator: Client, segment: Segment) -> None:
    viewer = staff("view_segment")
    use("enterprise", "b", "a")
    links = Screen(page(operator, url_of(segment))).all(f'a.flagstaff-key[href^="{FLAGS}"]')
    flags = FeatureFlag.objects.order_by("key")
    shown = [(link["href"], link.text) for link in links]
    assert shown == [(f"{FLAGS}{flag.pk}/change/", flag.key) for flag in flags]
    html = page(viewer, url_of(segment))
    assert ("2 flags" in html, f"{FLAGS}{flags[0].pk}/" in html) == (True, False)
    permit(User.objects.get(username="staff"), "view_featureflag")
    assert ">a</a>" in page(viewer, url_of(segment))
    rules = [{"conditions": [{"segment": "enterprise"}], "value": 50}]
    value = KeyValueStore.objects.create(key="max_items", value=10, rules=rules)
    link = f'<a href="{VALUES}{value.pk}/change/" class="flagstaff-key">max_items</a>'
    assert link in page(operator, url_of(segment))
    use("enterprise", *(f"f{number}" for number in range(51)))
    assert "</a> and 4 more" in page(operator, url_of(segment))


# The actions.


@pytest.mark.parametrize("version", ["0", "1", "9" * 19])
def test_version_of_a_row_that_is_created_is_ignored(version: str, operator: Client) -> None:
    data = {"key": "new", "conditions": json.dumps(PAYING), "expect_version": version}
    response = act(operator, f"{SEGMENTS}add/", **data)
    assert messages_of(response)[0].startswith("“new” was added.")


def test_action_that_changes_nothing_says_so(operator: Client, segment: Segment) -> None:
    response = act(operator, url_of(segment, "details"))
    assert messages_of(response) == ["Nothing was changed: “enterprise” already has these values."]
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": 1}', condition_problem({"a": 1})),
        ("[1]", condition_problem([1])),
        ("", "write at least one condition"),
        ("[]", "write at least one condition"),
        ("null", "write at least one condition"),
        ("[\n{]", "line 2, column 2"),
        (json.dumps([STAFF[0]] * 101), "101 conditions are too many; use at most 100"),
        (
            json.dumps([{**STAFF[0], "values": ["yes"] * 1_001}]),
            "condition 1: 1,001 values are too many; use at most 1,000",
        ),
        (json.dumps([{**STAFF[0], "values": ["yes"]}]), 'value 1 never matches "is_staff"'),
    ],
)
def test_conditions_that_workers_cannot_read_are_refused(
    text: str, problem: str, operator: Client, segment: Segment
) -> None:
    url = url_of(segment, "conditions")
    response = operator.post(url, typed(operator, url, conditions=text))
    assert response.context["form"]["conditions"].value() == text
    [error] = errors_of(response)
    assert problem in error


def test_key_that_exists_is_refused(operator: Client, segment: Segment) -> None:
    text = json.dumps(PAYING)
    [error] = errors_of(act(operator, f"{SEGMENTS}add/", key="enterprise", conditions=text))
    assert "already exists" in error


# The rows of conditions.


def edit(client: Client, url: str, data: dict[str, Any], button: str) -> dict[str, Any]:
    """Presses a button of the rows, and returns what a browser would post then."""
    response = client.post(url, data | {"_edit": button})
    assert problems_of(response) == []
    assert "errorlist" not in response.content.decode()
    return Screen(response).fields()


def test_conditions_are_edited_as_rows(operator: Client, segment: Segment) -> None:
    url = url_of(segment, "conditions")
    data = typed(operator, url)
    rows = {name: value for name, value in data.items() if name.startswith("conditions-0-")}
    assert rows == {
        "conditions-0-0-attribute": "plan",
        "conditions-0-0-operator": "in",
        "conditions-0-0-values": "paid",
        "conditions-0-1-attribute": "seats",
        "conditions-0-1-operator": "gte",
        "conditions-0-1-values": "100",
    }
    data = edit(operator, url, data | {"_reason": "seats"}, "remove:0-0")
    data = edit(operator, url, data, "attribute:0")
    # Empty rows are left out.
    data = edit(operator, url, data, "attribute:0")
    assert data["_reason"] == "seats"
    typed_row = {"attribute": "plan", "values": "gold"}
    data |= {f"conditions-0-1-{name}": value for name, value in typed_row.items()}
    assert operator.post(url, data).status_code == 302
    segment.refresh_from_db()
    assert segment.conditions == [LARGE[1], condition("plan", "in", "gold")]


# The question.


def ask(client: Client, segment: Segment, conditions: object) -> Any:
    """Posts other conditions, and returns the page that asks."""
    url = url_of(segment, "conditions")
    response = client.post(url, typed(client, url, conditions=json.dumps(conditions)))
    assert asks(response)
    return response


def test_change_that_users_notice_asks_before_it_is_made(
    operator: Client, segment: Segment
) -> None:
    use("enterprise", "a", enabled=True)
    response = ask(operator, segment, STAFF)
    rows = "; rules on plan, seats are not counted"
    assert preview_of(response) == {"a": [f"0 of 1{rows}", f"1 of 1{rows}"]}
    assert SENTENCE in Screen(response).texts("td.flagstaff-change")
    segment.refresh_from_db()
    assert segment.conditions == LARGE
    answer(operator, response)
    segment.refresh_from_db()
    assert segment.conditions == STAFF


def test_other_conditions_than_those_that_were_shown_are_asked_about_again(
    operator: Client, segment: Segment
) -> None:
    use("enterprise", "a", enabled=True)
    shown = ask(operator, segment, STAFF)
    response = answer(operator, shown, conditions=json.dumps(PAYING))
    assert asks(response)
    assert "a" in preview_of(response)
    segment.refresh_from_db()
    assert segment.conditions == LARGE


def test_heavier_consequence_than_was_shown_is_asked_about_again(
    operator: Client, segment: Segment, settings: Any
) -> None:
    production(settings)
    use("enterprise", "a", enabled=True)
    FeatureFlag.objects.update(rules=[{**FeatureFlag.objects.get().rules[0], "rollout_percent": 0}])
    shown = ask(operator, segment, STAFF)
    assert text_to_type(shown) == ""
    use("enterprise", "b", enabled=True)
    assert text_to_type(answer(operator, shown)) == "enterprise"
    segment.refresh_from_db()
    assert segment.conditions == LARGE


@pytest.mark.parametrize("name", ["versions_of", "impact_of_changes"])
def test_change_at_the_same_time_is_not_overwritten(
    name: str, operator: Client, segment: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change is made before the row is read, or before it is written."""
    url = url_of(segment, "conditions")
    data = typed(operator, url, conditions=json.dumps(STAFF))
    function = getattr(question, name)

    def change_first(*arguments: Any, **options: Any) -> Any:
        monkeypatch.undo()
        changes.segments.update("enterprise", {"conditions": PAYING})
        return function(*arguments, **options)

    monkeypatch.setattr(question, name, change_first)
    [problem, _change] = problems_of(operator.post(url, data))
    assert "has changed since the page was shown" in problem
    segment.refresh_from_db()
    assert segment.conditions == PAYING


# Deletion.


def test_deletion_after_another_one_is_not_logged(
    operator: Client, segment: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = operator.get(url_of(segment, "delete"))

    def delete_first(*arguments: Any, **options: Any) -> Any:
        monkeypatch.undo()
        changes.segments.delete("enterprise")
        return impact_of_changes(*arguments, **options)

    monkeypatch.setattr(question, "impact_of_changes", delete_first)
    assert answer(operator, shown).status_code == 200
    assert not Segment.objects.exists()
    assert not LogEntry.objects.exists()


def test_used_segment_is_not_deleted_and_its_flags_are_named(
    operator: Client, segment: Segment
) -> None:
    url = url_of(segment, "delete")
    shown = operator.get(url)
    use("enterprise", "a", "b")
    refusal = "the segment 'enterprise' is used by the rules of 'a', 'b'; change these rules first."
    for response in (operator.get(url), answer(operator, shown)):
        assert errors_of(response) == [refusal]
        assert not asks(response)
    assert Segment.objects.exists()
    assert "Delete" not in links_of(page(operator, url_of(segment)))


# The history.


def test_older_conditions_are_shown_in_words_and_restored(
    operator: Client, segment: Segment
) -> None:
    url = restore_url(segment_version("enterprise"))
    with acting_as("bob"):
        changes.segments.update("enterprise", {"conditions": PAYING})
    newest = events_of(page(operator, url_of(segment, "history")))[0]
    assert f'conditions {SENTENCE} → plan is "paid"' in newest
    assert staff("view_segment").post(url, {"_confirmed": "1"}).status_code == 403
    response = operator.get(url)
    assert preview_of(response)["conditions"] == ['plan is "paid"', SENTENCE]
    operator.post(url, confirmed(response))
    segment.refresh_from_db()
    assert segment.conditions == LARGE


# What a project adds.


@pytest.fixture
def own_admin(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site with the admin of the docs, and an action of the project."""

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
        fields = {
            "conditions": [condition("seats", "lt", most)],
            "description": f"{note}, {delete}",
        }
        return changes.segments.update(key, fields, expect_version=expect_version)

    actions = (*all_actions(Kind.SEGMENT), limit_seats)
    monkeypatch.setattr(row_page, "all_actions", lambda _kind: actions)
    site = AdminSite()
    site.register(
        Segment, names_of("how-to/admin-set-up.md", "class OwnSegmentAdmin")["OwnSegmentAdmin"]
    )
    settings.ROOT_URLCONF = (path("admin/", site.urls),)


@pytest.mark.usefixtures("own_admin")
def test_section_of_the_docs_is_on_the_page_with_its_action(
    operator: Client, segment: Segment
) -> None:
    html = page(operator, url_of(segment))
    runbook = Screen(html).section("Runbook")
    assert runbook.texts("h2 a") == ["Limit seats…"]
    assert "https://wiki.shop.example/enterprise" in runbook.text
    assert links_of(html) == ["Conditions", "Details", "Delete", "Limit seats"]


@pytest.mark.usefixtures("own_admin")
def test_action_of_a_project_has_a_page_with_its_arguments(
    operator: Client, segment: Segment
) -> None:
    url = url_of(segment, "limit-seats")
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
