"""The admin of segments: list, pages, the flags that use them, deletion, history, permissions."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from flagstaff import acting_as, changes
from flagstaff.admin.segments import SegmentAdmin
from flagstaff.history import segment_history, segment_version
from flagstaff.models import Change, FeatureFlag, Segment
from flagstaff.validators import condition_problem
from tests.support.admin_pages import (
    FLAGS,
    SEGMENTS,
    column,
    errors,
    form_data,
    messages_of,
    page,
    permit,
    staff,
)

pytestmark = pytest.mark.django_db

PAYING = [{"attribute": "plan", "operator": "in", "values": ["paid"]}]
LARGE = [*PAYING, {"attribute": "seats", "operator": "gte", "values": [100]}]


@pytest.fixture(autouse=True)
def no_history(db: None) -> None:
    """Deletes the entries of other tests."""
    Change.objects.all().delete()


@pytest.fixture
def segment() -> Segment:
    with acting_as("ana"):
        changes.create_segment("enterprise", LARGE, description="With a contract")
    return Segment.objects.get()


def use(segment: str, *flags: str) -> None:
    """Creates flags whose rules name the segment."""
    for key in flags:
        FeatureFlag.objects.create(key=key, rules=[{"conditions": [{"segment": segment}]}])


def store(conditions: object) -> None:
    """Writes any JSON by SQL."""
    with connection.cursor() as cursor:
        text = json.dumps(conditions)
        cursor.execute("UPDATE flagstaff_segment SET conditions = %s::jsonb", [text])


def url_of(segment: Segment, view: str = "change") -> str:
    return f"{SEGMENTS}{segment.pk}/{view}/"


def form_of(client: Client, segment: Segment, **fields: Any) -> dict[str, Any]:
    return form_data(client.get(url_of(segment))) | fields


def save(client: Client, segment: Segment, **fields: Any) -> None:
    response = client.post(url_of(segment), form_of(client, segment, **fields))
    assert response.status_code == 302
    segment.refresh_from_db()


# The list.


def test_list_shows_key_conditions_and_use(operator: Client, segment: Segment) -> None:
    Segment.objects.create(key="unused", conditions=PAYING)
    use("enterprise", "a", "b")
    html = page(operator, SEGMENTS)
    assert column(html, "segment") == ["enterpriseWith a contract", "unused"]
    assert [unescape(text) for text in column(html, "short_conditions")] == [
        'plan is "paid" and seats is at least 100',
        'plan is "paid"',
    ]
    assert column(html, "use") == ["2 flags", "-"]


def test_list_reads_the_rules_once(operator: Client, segment: Segment) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            page(operator, SEGMENTS)
        return len(queries)

    use("enterprise", "a")
    page(operator, SEGMENTS)  # Fills Django's caches.
    before = count()
    for number in range(20):
        Segment.objects.create(key=f"s{number}", conditions=PAYING)
        use(f"s{number}", f"f{number}")
    assert count() == before


def test_list_says_which_conditions_are_unreadable(operator: Client, segment: Segment) -> None:
    store({"x": 1})
    assert column(page(operator, SEGMENTS), "short_conditions") == ["unreadable conditions"]


def test_search_finds_descriptions(operator: Client, segment: Segment) -> None:
    Segment.objects.create(key="other", conditions=PAYING)
    assert len(column(page(operator, f"{SEGMENTS}?q=contract"), "segment")) == 1


# The page.


def test_new_segment_is_created_with_actor_and_reason(operator: Client) -> None:
    text = json.dumps(PAYING)
    data = {"key": "paying", "conditions": text, "description": "", "_reason": "pilot"}
    assert operator.post(f"{SEGMENTS}add/", data).status_code == 302
    assert Segment.objects.get().conditions == PAYING
    [event] = segment_history("paying")
    author = User.objects.get(username="admin")
    assert (event.actor, event.source, event.reason) == (str(author.pk), "admin", "pilot")


def test_add_page_has_no_flags(operator: Client) -> None:
    assert "used_by" not in page(operator, f"{SEGMENTS}add/")


def test_example_of_json_is_valid(operator: Client) -> None:
    response = operator.post(f"{SEGMENTS}add/", {"conditions-rows": "1", "_rule_edit": "json"})
    [example] = re.findall(r"<pre[^>]*>(.*?)</pre>", response.content.decode(), re.DOTALL)
    assert condition_problem(json.loads(unescape(example))) is None


def test_page_shows_conditions_as_sentence_and_as_json(operator: Client, segment: Segment) -> None:
    response = operator.get(url_of(segment))
    html = unescape(response.content.decode())
    assert '<div class="readonly">plan is "paid" and seats is at least 100</div>' in html
    assert response.context["adminform"].form["conditions"].value() == (
        '[\n  {"attribute": "plan", "operator": "in", "values": ["paid"]},\n'
        '  {"attribute": "seats", "operator": "gte", "values": [100]}\n]'
    )


def test_names_and_values_are_escaped(operator: Client, segment: Segment) -> None:
    store([{"attribute": "<i>", "operator": "in", "values": ["<b>"]}, {"segment": "<a>"}])
    html = page(operator, url_of(segment))
    assert "&lt;i&gt; is &quot;&lt;b&gt;&quot;" in html
    assert not re.search("<[ib]>", html)


def test_page_links_to_the_flags_that_use_it(operator: Client, segment: Segment) -> None:
    use("enterprise", "b", "a")
    html = page(operator, url_of(segment))
    links = re.findall(rf'<a href="({FLAGS}\d+/change/)" class="flagstaff-key">(.*?)</a>', html)
    flags = FeatureFlag.objects.order_by("key")
    assert links == [(f"{FLAGS}{flag.pk}/change/", flag.key) for flag in flags]


def test_page_counts_the_flags_beyond_fifty(operator: Client, segment: Segment) -> None:
    use("enterprise", *(f"f{number}" for number in range(53)))
    assert "</a> and 3 more" in page(operator, url_of(segment))


def test_page_counts_flags_for_users_who_may_not_view_flags(segment: Segment) -> None:
    use("enterprise", "a")
    viewer = staff("view_segment")
    html = page(viewer, url_of(segment))
    assert ("1 flag" in html, FLAGS in html) == (True, False)
    permit(User.objects.get(username="staff"), "view_featureflag")
    assert ">a</a>" in page(viewer, url_of(segment))


def test_unused_segment_says_so(operator: Client, segment: Segment) -> None:
    assert "no flag" in page(operator, url_of(segment))


def test_viewer_sees_the_sentence_and_no_json(segment: Segment) -> None:
    html = page(staff("view_segment"), url_of(segment))
    assert "seats is at least 100" in html
    assert "<textarea" not in html


def test_conditions_are_changed(operator: Client, segment: Segment) -> None:
    save(operator, segment, conditions=json.dumps(PAYING))
    assert segment.conditions == PAYING


def test_key_of_a_segment_is_fixed(operator: Client, segment: Segment) -> None:
    save(operator, segment, key="other", description="x")
    assert (segment.key, segment.description) == ("enterprise", "x")


@pytest.mark.parametrize("text", ['{"a": 1}', "[1]"])
def test_conditions_that_workers_cannot_read_are_refused(
    text: str, operator: Client, segment: Segment
) -> None:
    data = form_of(operator, segment, conditions=text)
    response = operator.post(url_of(segment), data)
    form = response.context["adminform"].form
    assert form["conditions"].value() == text
    assert form.errors["conditions"] == [condition_problem(json.loads(text))]


@pytest.mark.parametrize("text", ["", "[]", "null"])
def test_segment_without_conditions_is_refused(
    text: str, operator: Client, segment: Segment
) -> None:
    data = form_of(operator, segment, conditions=text)
    assert errors(operator, url_of(segment), data) == {
        "conditions": ["write at least one condition"]
    }


def test_malformed_json_has_line_and_column(operator: Client, segment: Segment) -> None:
    data = form_of(operator, segment, conditions="[\n{]")
    [error] = errors(operator, url_of(segment), data)["conditions"]
    assert "line 2, column 2" in error


def test_unreadable_conditions_are_named_and_stay_in_the_form(
    operator: Client, segment: Segment
) -> None:
    store({"x": 1})
    response = operator.get(url_of(segment))
    problem = condition_problem({"x": 1})
    assert f"Workers cannot read these conditions: {problem}." in response.content.decode()
    form = response.context["adminform"].form
    assert json.loads(form["conditions"].value()) == {"x": 1}
    save(operator, segment, description="y")
    assert (segment.conditions, segment.description) == ({"x": 1}, "y")


def test_undecodable_conditions_are_no_field_and_are_kept(
    operator: Client, segment: Segment
) -> None:
    with connection.cursor() as cursor:
        deep = "[" * 2_000 + "]" * 2_000
        cursor.execute("UPDATE flagstaff_segment SET conditions = %s::jsonb", [deep])
    assert "nested deeper than 500 levels" in page(operator, url_of(segment))
    assert "nested deeper than 500 levels" in page(staff("view_segment"), url_of(segment))
    assert column(page(operator, SEGMENTS), "short_conditions") == ["unreadable conditions"]
    save(operator, segment, description="y")
    assert str(segment.conditions) == deep


def test_large_conditions_are_not_in_the_form_and_are_kept(
    operator: Client, segment: Segment
) -> None:
    store([{**PAYING[0], "values": ["x" * 1_000] * 100}])
    html = unescape(page(operator, url_of(segment)))
    assert "Use “manage.py flags segment update enterprise --conditions FILE”" in html
    save(operator, segment, description="y")
    assert len(segment.conditions[0]["values"]) == 100


def test_conflict_shows_both_in_sentences(operator: Client, segment: Segment) -> None:
    other = [{"attribute": "plan", "operator": "in", "values": ["gold"]}]
    data = form_of(operator, segment, conditions=json.dumps(other))
    with acting_as("bob"):
        changes.update_segment("enterprise", {"conditions": PAYING})
    [error] = errors(operator, url_of(segment), data)["conditions"]
    assert error.startswith(
        'Yours: plan is "gold". Now in the database: plan is "paid", changed by'
    )


# Deletion.


def test_unused_segment_is_deleted(operator: Client, segment: Segment) -> None:
    assert "enterprise" in page(operator, url_of(segment, "delete"))
    response = operator.post(url_of(segment, "delete"), {"post": "yes"}, follow=True)
    assert not Segment.objects.exists()
    assert any("create “enterprise” again" in message for message in messages_of(response))


@pytest.mark.parametrize("method", ["get", "post"])
def test_deletion_of_a_used_segment_is_refused_with_its_flags(
    method: str, operator: Client, segment: Segment
) -> None:
    use("enterprise", "a", "b")
    response = getattr(operator, method)(url_of(segment, "delete"), {"post": "yes"}, follow=True)
    [message] = messages_of(response)
    assert message == (
        "the rules of “a”, “b” use the segment “enterprise”. Change these rules first; "
        "nothing was deleted."
    )
    assert response.redirect_chain == [(url_of(segment), 302)]
    assert Segment.objects.exists()


@pytest.mark.parametrize("step", [{}, {"post": "yes"}])
def test_deletion_of_several_segments_is_refused_if_one_is_used(
    step: dict[str, str], operator: Client, segment: Segment
) -> None:
    other = Segment.objects.create(key="other", conditions=PAYING)
    use("enterprise", "a")
    pks = [segment.pk, other.pk]
    data = {"action": "delete_selected", "_selected_action": pks, **step}
    [message] = messages_of(operator.post(SEGMENTS, data, follow=True))
    assert "the rules of “a” use the segment “enterprise”" in message
    assert Segment.objects.count() == 2


def test_several_unused_segments_are_deleted(operator: Client, segment: Segment) -> None:
    other = Segment.objects.create(key="other", conditions=PAYING)
    pks = [segment.pk, other.pk]
    data = {"action": "delete_selected", "_selected_action": pks}
    assert operator.post(SEGMENTS, data).status_code == 200
    operator.post(SEGMENTS, data | {"post": "yes"})
    assert not Segment.objects.exists()


def test_segment_that_a_rule_names_meanwhile_is_not_deleted(
    operator: Client, segment: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page has found no flag, and then a rule is written."""
    delete = SegmentAdmin.delete_model

    def use_first(*args: Any) -> None:
        use("enterprise", "a")
        delete(*args)

    monkeypatch.setattr(SegmentAdmin, "delete_model", use_first)
    response = operator.post(url_of(segment, "delete"), {"post": "yes"})
    assert response.status_code == 302
    assert Segment.objects.exists()


# The history.


def test_change_is_undone_and_restored(operator: Client, segment: Segment) -> None:
    version = segment_version("enterprise")
    with acting_as("bob"):
        changes.update_segment("enterprise", {"conditions": PAYING})
    url = url_of(segment, "history")
    sentence = 'conditions plan is "paid" and seats is at least 100 → plan is "paid"'
    assert sentence in unescape(page(operator, url))
    operator.post(url, {"_undo": segment_version("enterprise"), "_reason": "wrong"})
    segment.refresh_from_db()
    assert segment.conditions == LARGE
    with acting_as("bob"):
        changes.update_segment("enterprise", {"conditions": PAYING})
    preview = operator.post(url, {"_restore": version})
    [row] = preview.context["flagstaff_rows"]
    assert (row.now, row.after) == ('plan is "paid"', 'plan is "paid" and seats is at least 100')
    operator.post(url, {"_restore": version, "_confirmed": "1"})
    segment.refresh_from_db()
    assert segment.conditions == LARGE


def test_undo_of_the_creation_of_a_used_segment_is_refused(
    operator: Client, segment: Segment
) -> None:
    use("enterprise", "a")
    data = {"_undo": segment_version("enterprise")}
    [message] = messages_of(operator.post(url_of(segment, "history"), data, follow=True))
    assert "is used by the rules of 'a'" in message
    assert Segment.objects.exists()


def test_history_links_flags_and_segments_of_one_transaction(
    operator: Client, segment: Segment
) -> None:
    use("enterprise", "a")
    flag = FeatureFlag.objects.get()
    assert f"{SEGMENTS}{segment.pk}/history/" in page(operator, f"{FLAGS}{flag.pk}/history/")
    assert f"{FLAGS}{flag.pk}/history/" in page(operator, url_of(segment, "history"))


# Permissions and registration.


@pytest.mark.parametrize(
    ("permission", "statuses"),
    [
        ("view_featureflag", (403, 403, 403, 403, 403)),
        ("view_segment", (200, 403, 200, 403, 200)),
        ("change_segment", (200, 403, 200, 403, 200)),
        ("add_segment", (403, 200, 403, 403, 403)),
        ("delete_segment", (403, 403, 403, 200, 403)),
    ],
)
def test_pages_need_a_permission(
    permission: str, statuses: tuple[int, ...], segment: Segment
) -> None:
    client = staff(permission)
    views = ("", "add/", *(f"{segment.pk}/{view}/" for view in ("change", "delete", "history")))
    assert tuple(client.get(SEGMENTS + view).status_code for view in views) == statuses


@pytest.mark.parametrize("button", ["_undo", "_restore"])
def test_viewer_cannot_undo(button: str, segment: Segment) -> None:
    data = {button: segment_version("enterprise"), "_confirmed": "1"}
    assert staff("view_segment").post(url_of(segment, "history"), data).status_code == 403


def test_segments_are_registered() -> None:
    assert type(admin.site.get_model_admin(Segment)) is SegmentAdmin
