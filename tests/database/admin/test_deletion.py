"""Deletions: warnings about evaluations, and what is typed in production."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from flagstaff.history import flag_history
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from tests.support.admin_pages import (
    FLAGS,
    SEGMENTS,
    VALUES,
    asks,
    confirmed,
    flag_url,
    messages_of,
    problems_of,
    production,
    staff,
    text_to_type,
)
from tests.support.sql import rows as execute
from tests.support.stale_flags import KEY, collect_usage, evaluate, make_flag

pytestmark = pytest.mark.django_db

STAFF = {"attribute": "is_staff", "operator": "in", "values": [True]}
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    FLAGS: (FeatureFlag, {}),
    VALUES: (KeyValueStore, {"value": 1}),
    SEGMENTS: (Segment, {"conditions": [STAFF]}),
}
EACH = pytest.mark.parametrize("models", list(MODELS))


def count(models: str) -> int:
    return int(MODELS[models][0].objects.count())


def make(models: str, *keys: str) -> list[Any]:
    model, fields = MODELS[models]
    return [model.objects.create(key=key, **fields) for key in keys]


def delete_many(client: Client, models: str, rows: list[Any], **data: Any) -> Any:
    """Posts Django's page that lists the selected rows."""
    pks = [row.pk for row in rows]
    action = {"action": "delete_selected", "_selected_action": pks, "post": "yes"}
    return client.post(models, {**action, **data}, follow=True)


# One row.


@EACH
def test_deletion_in_production_types_the_key(models: str, operator: Client, settings: Any) -> None:
    production(settings)
    [row] = make(models, "new_checkout")
    url = f"{models}{row.pk}/delete/"
    listed = operator.get(url)
    assert not asks(listed)
    assert "Are you sure you want to delete" in listed.content.decode()
    response = operator.post(url, {"post": "yes"})
    assert asks(response)
    assert "Delete “new_checkout”?" in response.content.decode()
    assert text_to_type(response) == "new_checkout"
    assert count(models) == 1
    data = confirmed(response, _typed_key="new_checkout", _reason="old")
    messages = messages_of(operator.post(url, data, follow=True))
    assert any("create “new_checkout” again" in text for text in messages)
    assert count(models) == 0
    if models == FLAGS:
        newest = flag_history("new_checkout")[0]
        assert (newest.action, newest.reason) == ("delete", "old")


def test_wrong_text_deletes_nothing(operator: Client, settings: Any) -> None:
    production(settings)
    [row] = make(FLAGS, "new_checkout")
    url = f"{FLAGS}{row.pk}/delete/"
    for typed in ("", "other", "NEW_CHECKOUT", "Production"):
        data = {"post": "yes", "_confirmed": "1", "_typed_key": typed, "_reason": "unused"}
        response = operator.post(url, data)
        assert problems_of(response) == ["Not confirmed: type “new_checkout” exactly."]
        assert confirmed(response)["_reason"] == ["unused"]
        assert count(FLAGS) == 1


def test_blanks_that_a_page_does_not_show_need_not_be_typed(
    operator: Client, settings: Any
) -> None:
    production(settings)
    for typed in ("padded key", " padded  key "):
        [row] = make(FLAGS, " padded  key ")
        url = f"{FLAGS}{row.pk}/delete/"
        operator.post(url, confirmed(operator.post(url, {"post": "yes"}), _typed_key=typed))
        assert count(FLAGS) == 0


def test_deletion_outside_production_types_nothing(operator: Client, settings: Any) -> None:
    environment = {"name": "Staging", "production": False}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ENVIRONMENT": environment}
    row, *others = make(FLAGS, "new_checkout", "a", "b")
    assert operator.post(f"{FLAGS}{row.pk}/delete/", {"post": "yes"}).status_code == 302
    delete_many(operator, FLAGS, others)
    assert count(FLAGS) == 0


def test_deletion_without_permission_deletes_nothing(settings: Any) -> None:
    production(settings)
    rows = make(FLAGS, "a", "b")
    client, url = staff("change_featureflag"), f"{FLAGS}{rows[0].pk}/delete/"
    assert client.get(url).status_code == client.post(url, {"post": "yes"}).status_code == 403
    delete_many(client, FLAGS, rows, _confirmed="1", _typed_key="Production")
    assert count(FLAGS) == 2


def test_deletion_of_missing_rows_is_no_error(operator: Client, settings: Any) -> None:
    production(settings)
    [row] = make(FLAGS, "a")
    FeatureFlag.objects.all().delete()
    row.pk = 77
    assert operator.post(f"{FLAGS}77/delete/", {"post": "yes"}).status_code == 302
    assert delete_many(operator, FLAGS, [row]).status_code == 200


# Several rows.


@EACH
def test_deletion_of_several_types_the_environment(
    models: str, operator: Client, settings: Any
) -> None:
    production(settings, "Shop")
    rows = make(models, "a", "b", "c")
    response = delete_many(operator, models, rows[:2])
    assert "Delete “a”, “b”?" in response.content.decode()
    assert text_to_type(response) == "Shop"
    assert count(models) == 3
    operator.post(models, confirmed(response, _typed_key="a"))
    assert count(models) == 3
    operator.post(models, confirmed(response, _typed_key="Shop"))
    assert count(models) == 1
    # The question about many rows names some.
    rows = make(models, *(f"row{n:02}" for n in range(40)))
    html = delete_many(operator, models, rows).content.decode()
    assert "“row00”" in html
    assert "Delete all 40" in html
    assert len(html) < 40_000


def test_deletion_is_of_the_rows_that_were_listed(operator: Client, settings: Any) -> None:
    production(settings)
    rows = make(FLAGS, "a", "b", "c")
    # The second list of actions is no way round the question.
    actions = {"action": ["delete_selected", "turn_off"], "index": "0"}
    assert asks(delete_many(operator, FLAGS, rows, **actions))
    response = delete_many(operator, FLAGS, rows[:1], select_across="1")
    assert "Delete “a”?" in response.content.decode()
    assert text_to_type(response) == "a"
    assert count(FLAGS) == 3
    operator.post(FLAGS, {**confirmed(response, _typed_key="a"), "select_across": "1"})
    assert list(FeatureFlag.objects.values_list("key", flat=True)) == ["b", "c"]


# Warnings.


@pytest.fixture
def evaluated() -> FeatureFlag:
    """A flag that was evaluated 1,235 times."""
    flag = make_flag()
    collect_usage()
    evaluate(KEY, 40, times=100)
    evaluate(KEY, 3, times=1000)
    evaluate(KEY, times=235)
    return flag


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (30, "was evaluated 1,235 times in the last 30 days, last at "),
        (2, "235 times in the last 2 days"),
        (1, "last 1 day,"),
    ],
)
def test_page_says_how_often_when_and_where_a_flag_was_evaluated(
    days: int, text: str, operator: Client, evaluated: FeatureFlag, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "STALE_DAYS": days}
    [warning, hosts] = messages_of(operator.get(flag_url(evaluated, "delete")))
    assert warning.startswith(f"The flag “{KEY}” was evaluated ")
    assert text in warning
    assert hosts == "In this time, workers ran on: web-1."
    response = operator.post(flag_url(evaluated, "delete"), {"post": "yes"}, follow=True)
    assert not FeatureFlag.objects.exists()
    assert not any("was evaluated" in one for one in messages_of(response))


def test_flag_without_evaluations_or_usage_has_no_warning(
    operator: Client, evaluated: FeatureFlag
) -> None:
    dark_mode = make_flag("dark_mode")
    evaluate("dark_mode", 40)
    assert messages_of(operator.get(flag_url(dark_mode, "delete"))) == []
    execute("ALTER TABLE flagstaff_usage RENAME TO gone")
    assert messages_of(operator.get(flag_url(evaluated, "delete"))) == []


def test_action_warns_of_each_flag_and_of_many_in_one_sentence(
    operator: Client, evaluated: FeatureFlag
) -> None:
    others = [make_flag(f"flag_{number}") for number in range(30)]
    for one in others:
        evaluate(one.key)
    pks = [evaluated.pk, *(one.pk for one in others)]
    data: dict[str, Any] = {"action": "delete_selected", "_selected_action": pks[:2]}
    flag_0, new_checkout, _hosts = messages_of(operator.post(FLAGS, data))
    assert flag_0.startswith("The flag “flag_0” was evaluated 1 time in the last 30 days")
    assert new_checkout.startswith(f"The flag “{KEY}” was evaluated 1,235 times")
    data["_selected_action"] = pks[1:]
    text, _hosts = messages_of(operator.post(FLAGS, data))
    assert text.startswith("In the last 30 days, these flags were evaluated: flag_0, flag_1, ")
