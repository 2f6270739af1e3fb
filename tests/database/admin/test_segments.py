"""The admin of segments: list, pages, the flags that use them, deletion, history, permissions."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flagstaff import acting_as, changes
from flagstaff.admin.segment.admin import SegmentAdmin
from flagstaff.history import segment_version
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from flagstaff.validators import condition_problem
from tests.support.admin_pages import (
    FLAGS,
    SEGMENTS,
    column,
    confirmed,
    count_queries,
    errors,
    form_data,
    messages_of,
    page,
    permit,
    preview_of,
    restore_url,
    staff,
    undo_url,
)
from tests.support.history import segment_history
from tests.support.sql import rows as execute

pytestmark = pytest.mark.django_db

PAYING = [{"attribute": "plan", "operator": "in", "values": ["paid"]}]
LARGE = [*PAYING, {"attribute": "seats", "operator": "gte", "values": [100]}]


@pytest.fixture
def segment() -> Segment:
    with acting_as("ana"):
        changes.segments.create("enterprise", LARGE, description="With a contract")
    return Segment.objects.get()


def use(segment: str, *flags: str) -> None:
    """Creates flags whose rules name the segment."""
    for key in flags:
        FeatureFlag.objects.create(key=key, rules=[{"conditions": [{"segment": segment}]}])


def store(conditions: object) -> None:
    """Writes any JSON by SQL."""
    execute("UPDATE flagstaff_segment SET conditions = %s::jsonb", json.dumps(conditions))


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
    assert column(html, "segment") == ["enterprise With a contract", "unused"]
    assert [unescape(text) for text in column(html, "short_conditions")] == [
        'plan is "paid" and seats is at least 100',
        'plan is "paid"',
    ]
    assert column(html, "use") == ["2 flags", "-"]
    assert len(column(page(operator, f"{SEGMENTS}?q=contract"), "segment")) == 1


def test_values_that_use_a_segment_are_counted_linked_and_keep_it(
    operator: Client, segment: Segment
) -> None:
    use("enterprise", "a")
    rules = [{"conditions": [{"segment": "enterprise"}], "value": 50}]
    value = KeyValueStore.objects.create(key="max_items", value=10, rules=rules)
    assert column(page(operator, SEGMENTS), "use") == ["1 flag, 1 value"]
    url = reverse("admin:flagstaff_keyvaluestore_change", args=[value.pk])
    assert f'<a href="{url}" class="flagstaff-key">max_items</a>' in page(operator, url_of(segment))
    FeatureFlag.objects.all().delete()
    response = operator.post(url_of(segment, "delete"), {"post": "yes"}, follow=True)
    assert "the rules of value “max_items” use the segment" in messages_of(response)[0]
    assert Segment.objects.exists()


def test_list_reads_the_rules_once(operator: Client, segment: Segment) -> None:
    use("enterprise", "a")
    before = count_queries(operator, SEGMENTS)
    for number in range(20):
        Segment.objects.create(key=f"s{number}", conditions=PAYING)
        use(f"s{number}", f"f{number}")
    assert count_queries(operator, SEGMENTS) == before


# The page.


def test_new_segment_is_created_with_actor_and_reason(operator: Client, admin_user: User) -> None:
    data = {"conditions-rows": "1", "_rule_edit": "json"}
    html = operator.post(f"{SEGMENTS}add/", data).content.decode()
    [example] = re.findall(r"<pre[^>]*>(.*?)</pre>", html, re.DOTALL)
    conditions = json.loads(unescape(example))
    data = {"key": "paying", "conditions": json.dumps(conditions), "_reason": "pilot"}
    assert operator.post(f"{SEGMENTS}add/", data).status_code == 302
    assert Segment.objects.get().conditions == conditions
    [event] = segment_history("paying")
    assert (event.actor, event.source, event.reason) == (str(admin_user.pk), "admin", "pilot")


def test_page_shows_conditions_as_sentence_and_as_json(operator: Client, segment: Segment) -> None:
    response = operator.get(url_of(segment))
    assert response.context["adminform"].form["conditions"].value() == (
        '[\n  {"attribute": "plan", "operator": "in", "values": ["paid"]},\n'
        '  {"attribute": "seats", "operator": "gte", "values": [100]}\n]'
    )
    html = page(staff("view_segment"), url_of(segment))
    assert "seats is at least 100" in html
    assert "<textarea" not in html
    store([{"attribute": "<i>", "operator": "in", "values": ["<b>"]}, {"segment": "<a>"}])
    html = page(staff("view_segment", name="other"), url_of(segment))
    assert "&lt;i&gt; is &quot;&lt;b&gt;&quot;" in html
    assert not re.search("<[ib]>", html)


def test_page_links_to_the_flags_that_use_it(operator: Client, segment: Segment) -> None:
    viewer = staff("view_segment")
    assert "used_by" not in page(operator, f"{SEGMENTS}add/")
    assert "no flag" in page(operator, url_of(segment))
    use("enterprise", "b", "a")
    html = page(operator, url_of(segment))
    links = re.findall(rf'<a href="({FLAGS}\d+/change/)" class="flagstaff-key">(.*?)</a>', html)
    flags = FeatureFlag.objects.order_by("key")
    assert links == [(f"{FLAGS}{flag.pk}/change/", flag.key) for flag in flags]
    html = page(viewer, url_of(segment))
    assert ("2 flags" in html, FLAGS in html) == (True, False)
    permit(User.objects.get(username="staff"), "view_featureflag")
    assert ">a</a>" in page(viewer, url_of(segment))
    use("enterprise", *(f"f{number}" for number in range(51)))
    assert "</a> and 3 more" in page(operator, url_of(segment))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": 1}', condition_problem({"a": 1})),
        ("[1]", condition_problem([1])),
        ("", "write at least one condition"),
        ("[]", "write at least one condition"),
        ("null", "write at least one condition"),
        ("[\n{]", "line 2, column 2"),
    ],
)
def test_conditions_that_workers_cannot_read_are_refused(
    text: str, problem: str, operator: Client, segment: Segment
) -> None:
    data = form_of(operator, segment, conditions=text)
    form = operator.post(url_of(segment), data).context["adminform"].form
    assert form["conditions"].value() == text
    [error] = form.errors["conditions"]
    assert problem in error


def test_unreadable_conditions_are_named_and_stay_in_the_form(
    operator: Client, segment: Segment
) -> None:
    store({"x": 1})
    response = operator.get(url_of(segment))
    problem = condition_problem({"x": 1})
    assert f"Workers cannot read these conditions: {problem}." in response.content.decode()
    assert column(page(operator, SEGMENTS), "short_conditions") == ["unreadable conditions"]
    form = response.context["adminform"].form
    assert json.loads(form["conditions"].value()) == {"x": 1}
    save(operator, segment, description="y")
    assert (segment.conditions, segment.description) == ({"x": 1}, "y")


def test_large_conditions_are_no_field_and_are_kept(operator: Client, segment: Segment) -> None:
    store([{**PAYING[0], "values": ["x" * 1_000] * 100}])
    html = unescape(page(operator, url_of(segment)))
    assert "Use “manage.py flags segment conditions enterprise FILE”" in html
    save(operator, segment, description="z")
    assert len(segment.conditions[0]["values"]) == 100


def test_conditions_are_changed_the_key_is_fixed_and_a_conflict_shows_sentences(
    operator: Client, segment: Segment
) -> None:
    other = [{"attribute": "plan", "operator": "in", "values": ["gold"]}]
    data = form_of(operator, segment, conditions=json.dumps(other))
    save(operator, segment, conditions=json.dumps(PAYING), key="other", description="x")
    assert segment.conditions == PAYING
    assert (segment.key, segment.description) == ("enterprise", "x")
    [error] = errors(operator, url_of(segment), data)["conditions"]
    text = 'Yours: plan is "gold". Now in the database: plan is "paid", changed by'
    assert error.startswith(text)


# Deletion.


def test_unused_segment_is_deleted_and_a_used_one_refused_with_its_flags(
    operator: Client, segment: Segment
) -> None:
    url = url_of(segment, "delete")
    assert "enterprise" in page(operator, url)
    use("enterprise", "a", "b")
    for method in (operator.get, operator.post):
        response = method(url, {"post": "yes"}, follow=True)
        [message] = messages_of(response)
        assert message == (
            "the rules of “a”, “b” use the segment “enterprise”. Change these rules first; "
            "nothing was deleted."
        )
        assert response.redirect_chain == [(url_of(segment), 302)]
    assert Segment.objects.exists()
    FeatureFlag.objects.all().delete()
    response = operator.post(url, {"post": "yes"}, follow=True)
    assert not Segment.objects.exists()
    assert any("create “enterprise” again" in message for message in messages_of(response))


def test_several_segments_are_deleted_unless_one_is_used(
    operator: Client, segment: Segment
) -> None:
    pks = [segment.pk, Segment.objects.create(key="other", conditions=PAYING).pk]
    data = {"action": "delete_selected", "_selected_action": pks}
    assert operator.post(SEGMENTS, data).status_code == 200
    use("enterprise", "a")
    for posted in (data, data | {"post": "yes"}):
        [message] = messages_of(operator.post(SEGMENTS, posted, follow=True))
        assert message.startswith("the rules of “a” use the segment “enterprise”")
    assert Segment.objects.count() == 2
    FeatureFlag.objects.all().delete()
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
    version, url = segment_version("enterprise"), url_of(segment, "history")
    sentence = 'plan is "paid" and seats is at least 100'
    for name in ("undo", "restore"):
        with acting_as("bob"):
            changes.segments.update("enterprise", {"conditions": PAYING})
        shown = unescape(page(operator, url))
        assert f'conditions <strong>{sentence} → plan is "paid"</strong>' in shown
        newest = segment_version("enterprise")
        address = undo_url(newest) if name == "undo" else restore_url(url, version)
        viewer = staff("view_segment", name=f"viewer_{name}")
        assert viewer.post(address, {"_confirmed": "1"}).status_code == 403
        response = operator.get(address)
        if name == "restore":
            assert list(preview_of(response).values()) == [['plan is "paid"', sentence]]
        operator.post(address, confirmed(response, _reason="wrong"))
        segment.refresh_from_db()
        assert segment.conditions == LARGE


def test_undo_of_creation_of_a_used_segment_is_refused(operator: Client, segment: Segment) -> None:
    use("enterprise", "a")
    flag, url = FeatureFlag.objects.get(), url_of(segment, "history")
    # The histories link flags and segments of one transaction.
    assert url in page(operator, f"{FLAGS}{flag.pk}/history/")
    assert f"{FLAGS}{flag.pk}/history/" in page(operator, url)
    html = unescape(page(operator, undo_url(segment_version("enterprise"))))
    assert "cannot be undone:</strong> the segment 'enterprise' is used by the rules of 'a'" in html
    assert Segment.objects.exists()


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
