"""The page that gives a segment another key."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from flagstaff import changes, experiments
from flagstaff.experiments.models import Experiment
from flagstaff.models import FeatureFlag, Segment
from tests.support.admin_pages import (
    SEGMENTS,
    asks,
    confirmed,
    messages_of,
    notes_of,
    page,
    problems_of,
    production,
    staff,
    text_to_type,
    undo_all_url,
    undo_url,
    undo_urls,
)

pytestmark = pytest.mark.django_db

IN_SEGMENT = [{"conditions": [{"segment": "enterprise"}]}]
RENAMED = [{"conditions": [{"segment": "large"}]}]


@pytest.fixture
def flag(enterprise: Segment) -> FeatureFlag:
    """A flag with a rule that names the segment."""
    return FeatureFlag.objects.create(key="new_checkout", rules=IN_SEGMENT)


def url_of(segment: Segment) -> str:
    return f"{SEGMENTS}{segment.pk}/rename/"


def rename(client: Client, segment: Segment, new_key: str = "large", **data: str) -> Any:
    """Opens the page, types a key, and returns the page after it."""
    url = url_of(segment)
    shown = confirmed(client.get(url), new_key=new_key, **data)
    return client.post(url, shown, follow=True)


def test_rename_writes_the_new_key_into_the_rules_of_flags_and_experiments(
    operator: Client, enterprise: Segment, flag: FeatureFlag
) -> None:
    experiments.create("button", ["control", "treatment"], rules=IN_SEGMENT)
    response = rename(operator, enterprise)
    enterprise.refresh_from_db()
    flag.refresh_from_db()
    assert (enterprise.key, flag.rules) == ("large", RENAMED)
    assert Experiment.objects.get().rules == RENAMED
    assert response.redirect_chain == [(f"{SEGMENTS}{enterprise.pk}/change/", 302)]
    [message] = messages_of(response)
    assert message.startswith("The segment “enterprise” was renamed to “large”, also in all rules.")


def test_rename_is_undone_by_the_button_of_its_message(
    operator: Client, enterprise: Segment, flag: FeatureFlag
) -> None:
    [url] = undo_urls(rename(operator, enterprise))
    operator.post(url, confirmed(operator.get(url)))
    enterprise.refresh_from_db()
    flag.refresh_from_db()
    assert (enterprise.key, flag.rules) == ("enterprise", IN_SEGMENT)


def test_page_of_an_undo_of_a_rename_lists_the_rules_that_get_the_key(
    operator: Client, enterprise: Segment, flag: FeatureFlag
) -> None:
    experiments.create("button", ["control", "treatment"], rules=IN_SEGMENT)
    [url] = undo_urls(rename(operator, enterprise))
    assert notes_of(operator.get(url)) == [
        "The rules of “new_checkout”, experiment “button” get the key “enterprise”."
    ]
    flag.delete()
    Experiment.objects.all().delete()
    assert notes_of(operator.get(url)) == []


@pytest.mark.django_db(transaction=True)
def test_page_of_an_undo_of_a_rename_leaves_out_a_flag_that_it_deletes(
    operator: Client, enterprise: Segment
) -> None:
    with transaction.atomic():
        changed = changes.rename_segment("enterprise", "large")
        changes.create("new_checkout", rules=RENAMED)
    assert notes_of(operator.get(undo_all_url(changed.version))) == ["This deletes “new_checkout”."]


@pytest.mark.django_db(transaction=True)
def test_page_of_an_undo_of_a_rename_counts_flags_that_the_user_may_not_see(
    enterprise: Segment, flag: FeatureFlag
) -> None:
    url = undo_url(changes.rename_segment("enterprise", "large").version)
    client = staff("view_segment", "change_segment")
    [note] = notes_of(client.get(url))
    assert note == "The rules of 1 flag that you may not see get the key “enterprise”."


def test_page_lists_what_uses_the_segment(
    operator: Client, enterprise: Segment, flag: FeatureFlag
) -> None:
    experiments.create("button", ["control", "treatment"], rules=IN_SEGMENT)
    response = operator.get(url_of(enterprise))
    [note] = notes_of(response)
    assert note == (
        "The rules of “new_checkout”, experiment “button” get the new key. "
        "No user gains or loses anything."
    )
    flag.delete()
    Experiment.objects.all().delete()
    assert notes_of(operator.get(url_of(enterprise))) == [
        "No rule uses the segment. No user gains or loses anything."
    ]


def test_flags_that_the_user_may_not_see_are_a_number(
    enterprise: Segment, flag: FeatureFlag
) -> None:
    client = staff("change_segment")
    [note] = notes_of(client.get(url_of(enterprise)))
    assert "The rules of 1 flag that you may not see get the new key." in note
    rename(client, enterprise)
    flag.refresh_from_db()
    assert flag.rules == RENAMED


@pytest.mark.parametrize(
    ("new_key", "problem"),
    [
        ("customers", "a segment 'customers' already exists; change it, or use another key"),
        ("", "key"),
        ("a" * 300, "key"),
    ],
)
def test_refused_key_is_an_error_of_the_page(
    new_key: str, problem: str, operator: Client, enterprise: Segment
) -> None:
    Segment.objects.create(key="customers", conditions=enterprise.conditions)
    response = rename(operator, enterprise, new_key)
    [shown] = problems_of(response)
    assert problem in shown
    assert f'value="{new_key}"' in response.content.decode()
    assert Segment.objects.filter(key="enterprise").exists()


def test_refusal_names_no_flag_that_the_user_may_not_see(enterprise: Segment) -> None:
    flag = FeatureFlag.objects.create(key="hidden_flag", rules=IN_SEGMENT)
    FeatureFlag.objects.filter(pk=flag.pk).update(rules=RENAMED)
    [shown] = problems_of(rename(staff("change_segment"), enterprise))
    assert "name 'large' already" in shown
    assert "hidden_flag" not in shown


def test_present_key_changes_nothing(operator: Client, enterprise: Segment) -> None:
    [message] = messages_of(rename(operator, enterprise, "enterprise"))
    assert message == "Nothing was changed: “enterprise” already has these values."


def test_key_is_typed_in_production(operator: Client, enterprise: Segment, settings: Any) -> None:
    production(settings)
    response = operator.get(url_of(enterprise))
    assert text_to_type(response) == "enterprise"
    assert problems_of(rename(operator, enterprise)) == [
        "Not confirmed: type “enterprise” exactly."
    ]
    rename(operator, enterprise, _typed_key="enterprise")
    assert Segment.objects.get().key == "large"


def test_required_reason_is_asked(
    operator: Client, enterprise: Segment, reason_required: None
) -> None:
    [problem] = problems_of(rename(operator, enterprise))
    assert problem.startswith("A reason is required.")
    rename(operator, enterprise, _reason="clearer")
    assert Segment.objects.get().key == "large"


def test_change_since_the_page_was_opened_asks_again(operator: Client, enterprise: Segment) -> None:
    url = url_of(enterprise)
    shown = confirmed(operator.get(url), new_key="large")
    changes.update_segment("enterprise", {"description": "With a contract"})
    response = operator.post(url, shown)
    assert asks(response)
    assert problems_of(response)[0].startswith("Not saved: enterprise has version")
    operator.post(url, confirmed(response, new_key="large"))
    assert Segment.objects.get().key == "large"


def test_user_who_may_only_view_segments_cannot_rename(enterprise: Segment) -> None:
    client = staff("view_segment")
    assert client.get(url_of(enterprise)).status_code == 403
    assert client.post(url_of(enterprise), {"new_key": "large"}).status_code == 403
    assert "Rename…" not in page(client, f"{SEGMENTS}{enterprise.pk}/change/")


def test_page_of_a_segment_links_to_its_rename(operator: Client, enterprise: Segment) -> None:
    html = page(operator, f"{SEGMENTS}{enterprise.pk}/change/")
    assert f'href="{url_of(enterprise)}">Rename…' in unescape(html)


def test_missing_segment_is_a_message(operator: Client, enterprise: Segment) -> None:
    url = url_of(enterprise)
    enterprise.delete()
    assert messages_of(operator.get(url, follow=True)) == ["This segment no longer exists."]
