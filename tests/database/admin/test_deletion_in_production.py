"""Deletions in production need the key, or the name of the environment, to be typed."""

from __future__ import annotations

from collections.abc import Callable
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
    messages_of,
    problems_of,
    production,
    staff,
    text_to_type,
)

pytestmark = pytest.mark.django_db

STAFF = {"attribute": "is_staff", "operator": "in", "values": [True]}
MODELS: dict[str, Callable[[str], Any]] = {
    FLAGS: lambda key: FeatureFlag.objects.create(key=key),
    VALUES: lambda key: KeyValueStore.objects.create(key=key, value=1),
    SEGMENTS: lambda key: Segment.objects.create(key=key, conditions=[STAFF]),
}
EACH = pytest.mark.parametrize("models", list(MODELS))


def count(models: str) -> int:
    model: Any = {FLAGS: FeatureFlag, VALUES: KeyValueStore, SEGMENTS: Segment}[models]
    return int(model.objects.count())


def make(models: str, *keys: str) -> list[Any]:
    return [MODELS[models](key) for key in keys]


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
    response = operator.post(url, {"post": "yes"})
    assert asks(response)
    assert "Delete “new_checkout”?" in response.content.decode()
    assert text_to_type(response) == "new_checkout"
    assert count(models) == 1
    operator.post(url, confirmed(response, _typed_key="new_checkout"))
    assert count(models) == 0


@pytest.mark.parametrize("typed", ["", "other", "NEW_CHECKOUT", "Production"])
def test_wrong_text_deletes_nothing(typed: str, operator: Client, settings: Any) -> None:
    production(settings)
    [row] = make(FLAGS, "new_checkout")
    url = f"{FLAGS}{row.pk}/delete/"
    data = {"post": "yes", "_confirmed": "1", "_typed_key": typed, "_reason": "unused"}
    response = operator.post(url, data)
    assert problems_of(response) == ["Not confirmed: type “new_checkout” exactly."]
    assert confirmed(response)["_reason"] == ["unused"]
    assert count(FLAGS) == 1


@pytest.mark.parametrize("typed", ["padded key", " padded  key "])
def test_blanks_that_a_page_does_not_show_need_not_be_typed(
    typed: str, operator: Client, settings: Any
) -> None:
    production(settings)
    [row] = make(FLAGS, " padded  key ")
    url = f"{FLAGS}{row.pk}/delete/"
    operator.post(url, confirmed(operator.post(url, {"post": "yes"}), _typed_key=typed))
    assert count(FLAGS) == 0


def test_confirmed_deletion_records_the_reason(operator: Client, settings: Any) -> None:
    production(settings)
    [row] = make(FLAGS, "new_checkout")
    url = f"{FLAGS}{row.pk}/delete/"
    data = confirmed(operator.post(url, {"post": "yes"}), _typed_key="new_checkout", _reason="old")
    response = operator.post(url, data, follow=True)
    assert any("create “new_checkout” again" in text for text in messages_of(response))
    assert (flag_history("new_checkout")[0].action, flag_history("new_checkout")[0].reason) == (
        "delete",
        "old",
    )


@pytest.mark.parametrize("environment", [None, {"name": "Staging", "production": False}])
def test_deletion_outside_production_types_nothing(
    environment: object, operator: Client, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ENVIRONMENT": environment}
    [row] = make(FLAGS, "new_checkout")
    assert operator.post(f"{FLAGS}{row.pk}/delete/", {"post": "yes"}).status_code == 302
    assert count(FLAGS) == 0


def test_page_that_lists_what_is_deleted_comes_first(operator: Client, settings: Any) -> None:
    production(settings)
    [row] = make(FLAGS, "new_checkout")
    response = operator.get(f"{FLAGS}{row.pk}/delete/")
    assert not asks(response)
    assert "Are you sure you want to delete" in response.content.decode()


@pytest.mark.parametrize("method", ["get", "post"])
def test_deletion_without_permission_is_forbidden(method: str, settings: Any) -> None:
    production(settings)
    [row] = make(FLAGS, "new_checkout")
    client = staff("change_featureflag")
    response = getattr(client, method)(f"{FLAGS}{row.pk}/delete/", {"post": "yes"})
    assert response.status_code == 403
    assert count(FLAGS) == 1


def test_deletion_of_a_missing_row_redirects(operator: Client, settings: Any) -> None:
    production(settings)
    response = operator.post(f"{FLAGS}77/delete/", {"post": "yes"})
    assert response.status_code == 302


def test_deletion_without_csrf_token_is_rejected(admin_user: Any, settings: Any) -> None:
    production(settings)
    [row] = make(FLAGS, "new_checkout")
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    data = {"post": "yes", "_confirmed": "1", "_typed_key": "new_checkout"}
    assert client.post(f"{FLAGS}{row.pk}/delete/", data).status_code == 403
    assert count(FLAGS) == 1


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


def test_deletion_of_one_selected_row_types_its_key(operator: Client, settings: Any) -> None:
    production(settings)
    rows = make(FLAGS, "a", "b")
    response = delete_many(operator, FLAGS, rows[:1])
    assert text_to_type(response) == "a"
    operator.post(FLAGS, confirmed(response, _typed_key="a"))
    assert list(FeatureFlag.objects.values_list("key", flat=True)) == ["b"]


def test_deletion_is_of_the_rows_that_were_listed(operator: Client, settings: Any) -> None:
    production(settings)
    rows = make(FLAGS, "a", "b", "c")
    response = delete_many(operator, FLAGS, rows[:1], select_across="1")
    assert "Delete “a”?" in response.content.decode()
    assert count(FLAGS) == 3
    operator.post(FLAGS, {**confirmed(response, _typed_key="a"), "select_across": "1"})
    assert list(FeatureFlag.objects.values_list("key", flat=True)) == ["b", "c"]


def test_second_list_of_actions_is_no_way_round_the_question(
    operator: Client, settings: Any
) -> None:
    production(settings)
    actions = {"action": ["delete_selected", "turn_off"], "index": "0"}
    assert asks(delete_many(operator, FLAGS, make(FLAGS, "a"), **actions))
    assert count(FLAGS) == 1


def test_question_about_many_rows_names_some(operator: Client, settings: Any) -> None:
    production(settings)
    response = delete_many(operator, FLAGS, make(FLAGS, *(f"flag{n:02}" for n in range(40))))
    html = response.content.decode()
    assert "“flag00”" in html
    assert "Delete all 40" in html
    assert len(html) < 40_000


def test_deletion_of_several_outside_production_types_nothing(operator: Client) -> None:
    delete_many(operator, FLAGS, make(FLAGS, "a", "b"))
    assert count(FLAGS) == 0


def test_action_without_permission_deletes_nothing(settings: Any) -> None:
    production(settings)
    rows = make(FLAGS, "a", "b")
    data = {"_confirmed": "1", "_typed_key": "Production"}
    delete_many(staff("change_featureflag"), FLAGS, rows, **data)
    assert count(FLAGS) == 2


def test_selection_of_deleted_rows_is_no_error(operator: Client, settings: Any) -> None:
    production(settings)
    rows = make(FLAGS, "a")
    FeatureFlag.objects.all().delete()
    rows[0].pk = 77
    assert delete_many(operator, FLAGS, rows).status_code == 200
