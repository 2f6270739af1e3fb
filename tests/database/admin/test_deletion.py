"""The page before a deletion: what it says, what is typed, and what Django refuses."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils.html import strip_tags

from flagstaff import changes
from flagstaff.admin.flag.parts.deletion import FlagDeletion
from flagstaff.admin.part import Deleted
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.models import Plan
from tests.support.admin_pages import (
    FLAGS,
    asks,
    confirmed,
    flag_url,
    messages_of,
    notes_of,
    problems_of,
    production,
    rows_of,
    staff,
    text_to_type,
)
from tests.support.history import flag_history
from tests.support.sql import rows as execute
from tests.support.sql import statements_of
from tests.support.stale_flags import KEY, collect_usage, evaluate, make_flag, serve

pytestmark = pytest.mark.django_db

STAFF = {"attribute": "is_staff", "operator": "in", "values": [True]}
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    FLAGS: (FeatureFlag, {}),
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
    for response in (operator.get(url), operator.post(url, {"post": "yes"})):
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


@EACH
def test_page_of_a_deletion_outside_production_needs_one_button(
    models: str, operator: Client
) -> None:
    row, *others = make(models, "a", "b", "c")
    url = f"{models}{row.pk}/delete/"
    response = operator.get(url)
    assert text_to_type(response) == ""
    assert "You can bring it back in “Recent changes”" in response.content.decode()
    operator.post(url, confirmed(response))
    assert count(models) == 2
    data = {"action": "delete_selected", "_selected_action": [one.pk for one in others]}
    operator.post(models, confirmed(operator.post(models, data)))
    assert count(models) == 0


@EACH
@pytest.mark.parametrize("confirmation", [{}, {"post": "yes", "_confirmed": "1"}])
def test_deletion_of_rows_that_are_gone_goes_back_to_the_list_and_says_so(
    models: str, confirmation: dict[str, str], operator: Client
) -> None:
    gone, other = make(models, "a", "b")
    data = {"action": "delete_selected", "_selected_action": [gone.pk], **confirmation}
    gone.delete()
    response = operator.post(models, data, follow=True)
    assert response.redirect_chain == [(models, 302)]
    assert messages_of(response) == ["Nothing was deleted: what you selected no longer exists."]
    assert list(type(other).objects.all()) == [other]


def test_deletion_in_a_popup_closes_the_popup(operator: Client) -> None:
    [row] = make(FLAGS, "a")
    url = f"{FLAGS}{row.pk}/delete/?_popup=1"
    response = operator.post(url, confirmed(operator.get(url)))
    assert "data-popup-response" in response.content.decode()


def test_refusal_of_django_is_its_own_page(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    [row] = make(FLAGS, "a")
    monkeypatch.setattr(
        FlagDeletion, "deleted_objects", lambda *_args: ([], {}, set(), ["Order 7 of a shop"])
    )
    data = {"action": "delete_selected", "_selected_action": [row.pk]}
    pages = operator.get(f"{FLAGS}{row.pk}/delete/"), operator.post(FLAGS, data)
    for response in pages:
        assert not asks(response)
        assert "Order 7 of a shop" in response.content.decode()


@pytest.mark.usefixtures("unused")
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


def facts_of(response: Any) -> dict[str, str]:
    """Returns what the page says about the only flag."""
    html = response.content.decode()
    [table] = re.findall(r'flagstaff-facts">(.*?)</table>', html, re.DOTALL)
    pairs = re.findall(r"<th[^>]*>(.*?)</th><td>(.*?)</td>", table)
    return {label: unescape(strip_tags(text)) for label, text in pairs}


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (30, "in the last 30 days: 1,235, in the last day: 235"),
        (2, "in the last 2 days: 235, in the last day: 235"),
        (1, "in the last 1 day: 235, in the last day: 235"),
    ],
)
def test_page_says_how_often_and_when_a_flag_was_evaluated(
    days: int, text: str, operator: Client, evaluated: FeatureFlag, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "STALE_DAYS": days}
    response = operator.get(flag_url(evaluated, "delete"))
    fact = facts_of(response)["Evaluated"]
    assert fact.startswith("last evaluation: ")
    assert fact.endswith(f"; {text}")
    [in_use] = notes_of(response)
    assert in_use.startswith(f"The code still evaluates “{KEY}”")


def test_flag_evaluated_within_a_day_is_deleted_by_its_key(
    operator: Client, evaluated: FeatureFlag
) -> None:
    url = flag_url(evaluated, "delete")
    response = operator.get(url)
    assert text_to_type(response) == KEY
    assert problems_of(operator.post(url, confirmed(response))) == [
        f"Not confirmed: type “{KEY}” exactly."
    ]
    operator.post(url, confirmed(response, _typed_key=KEY))
    assert not FeatureFlag.objects.exists()


def test_flag_evaluated_days_ago_is_deleted_without_its_key(
    operator: Client, evaluated: FeatureFlag
) -> None:
    dark_mode = make_flag("dark_mode")
    evaluate("dark_mode", 3)
    response = operator.get(flag_url(dark_mode, "delete"))
    assert (text_to_type(response), notes_of(response)[1:]) == ("", [])
    assert "in the last 30 days: 1, in the last day: 0" in facts_of(response)["Evaluated"]


def test_flag_without_evaluations_or_usage_says_so(
    operator: Client, evaluated: FeatureFlag
) -> None:
    dark_mode = make_flag("dark_mode")
    evaluate("dark_mode", 40)
    response = operator.get(flag_url(dark_mode, "delete"))
    assert facts_of(response)["Evaluated"] == "not in the last 30 days"
    assert notes_of(response) == []
    execute("ALTER TABLE flagstaff_usage RENAME TO gone")
    response = operator.get(flag_url(evaluated, "delete"))
    assert facts_of(response)["Evaluated"] == "not known"
    assert text_to_type(response) == ""


def test_flag_served_in_bulk_is_not_known_to_be_in_use(operator: Client) -> None:
    flag = make_flag()
    collect_usage()
    serve(KEY)
    response = operator.get(flag_url(flag, "delete"))
    fact = "last served in bulk, which does not say whether the code uses it: "
    assert facts_of(response)["Evaluated"].startswith(fact)
    assert text_to_type(response) == ""
    evaluate(KEY, 3)
    assert "bulk" not in facts_of(operator.get(flag_url(flag, "delete")))["Evaluated"]


def test_flag_served_to_browsers_within_a_day_is_deleted_by_its_key(operator: Client) -> None:
    flag = make_flag()
    collect_usage()
    serve(KEY, 3, to_browsers=True)
    assert text_to_type(operator.get(flag_url(flag, "delete"))) == ""
    serve(KEY, 0.5, to_browsers=True)
    response = operator.get(flag_url(flag, "delete"))
    assert facts_of(response)["Evaluated"].startswith("last served to browsers: ")
    assert notes_of(response)[0] == f"Browsers still receive “{KEY}”."
    assert text_to_type(response) == KEY


def test_action_has_a_row_for_each_flag_and_types_the_number_if_one_is_in_use(
    operator: Client, evaluated: FeatureFlag
) -> None:
    others = [make_flag(f"flag_{number:02}") for number in range(30)]
    for one in others[1:]:
        evaluate(one.key, times=2)
    pks = [evaluated.pk, *(one.pk for one in others)]
    data: dict[str, Any] = {"action": "delete_selected", "_selected_action": pks[:2]}
    response = operator.post(FLAGS, data)
    flag_00, new_checkout = rows_of(response.content.decode())
    assert flag_00.startswith("flag_00rollout 50 %not in the last 30 days")
    assert new_checkout.startswith(KEY)
    assert "in the last 30 days: 1,235, in the last day: 235" in new_checkout
    assert text_to_type(response) == "2"
    data["_selected_action"] = pks[1:]
    response = operator.post(FLAGS, data)
    assert len(rows_of(response.content.decode())) == 20
    assert "and 10 more" in response.content.decode()
    assert text_to_type(response) == "30"
    operator.post(FLAGS, confirmed(response, _typed_key="30"))
    assert list(FeatureFlag.objects.values_list("key", flat=True)) == [KEY]


# Who loses the flag, and what else is known about it.


def test_page_says_who_loses_the_flag_its_rules_plan_and_command(operator: Client) -> None:
    users = User.objects.bulk_create(User(username=f"user_{n}") for n in range(3))
    flag = make(FLAGS, "in_use")[0]
    changes.flags.update("in_use", {"enabled": True})
    changes.flags.allow("in_use", users[:2])
    Plan.objects.create(flag_pk=str(flag.pk), key="in_use", steps=[{"percent": 5, "seconds": 60}])
    response = operator.get(flag_url(flag, "delete"))
    facts = facts_of(response)
    assert (facts["Users who lose it"], facts["Allowed users"]) == ("2 of 4", "2")
    assert facts["Rules"] == "no rules"
    assert facts["Notes"].startswith("plan: ")
    assert "python manage.py flags references in_use" in response.content.decode()


def test_page_says_what_is_not_counted(operator: Client) -> None:
    [flag] = make(FLAGS, "by_visitor")
    changes.flags.update(
        "by_visitor", {"enabled": True, "rollout_percent": 5, "bucket_by": "visitor"}
    )
    text = facts_of(operator.get(flag_url(flag, "delete")))["Users who lose it"]
    assert text == "0 of 1; rules on visitor are not counted"


def test_page_says_what_else_is_deleted(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    [flag] = make(FLAGS, "a")
    own = str(FeatureFlag._meta.verbose_name_plural)
    found: Deleted = [], {own: 1, "orders": 2_000}, set(), []
    monkeypatch.setattr(FlagDeletion, "deleted_objects", lambda *_args: found)
    response = operator.get(flag_url(flag, "delete"))
    assert notes_of(response) == ["Also deleted: 2,000 orders."]


def queries_of_action(client: Client, flags: list[Any]) -> int:
    data = {"action": "delete_selected", "_selected_action": [flag.pk for flag in flags]}
    assert asks(client.post(FLAGS, data))
    return len(statements_of(lambda: client.post(FLAGS, data)))


def test_number_of_queries_is_the_same_for_one_enabled_flag_and_for_five(operator: Client) -> None:
    rows = make(FLAGS, *"abcde")
    rules = [{"conditions": [STAFF], "rollout_percent": 100}]
    FeatureFlag.objects.update(enabled=True, rollout_percent=50, rules=rules)
    queries_of_action(operator, rows)
    assert queries_of_action(operator, rows) == queries_of_action(operator, rows[:2])
    # Django does not record one query of the faster count for a single flag.
    assert queries_of_action(operator, rows) <= queries_of_action(operator, rows[:1]) + 1


def test_action_counts_the_users_who_lose_each_flag(operator: Client) -> None:
    User.objects.bulk_create(User(username=f"user_{n}") for n in range(3))
    rows = make(FLAGS, *"abcd")
    changes.flags.update("a", {"enabled": True, "rollout_percent": 100})
    rules = [{"conditions": [STAFF], "rollout_percent": 100}]
    changes.flags.update("b", {"enabled": True, "rules": rules})
    changes.flags.update("c", {"enabled": True, "rollout_percent": 5, "bucket_by": "visitor"})
    data = {"action": "delete_selected", "_selected_action": [flag.pk for flag in rows]}
    a, b, c, d = rows_of(operator.post(FLAGS, data).content.decode())
    assert "4 of 4" in a
    assert "1 of 4" in b
    assert "0 of 4; rules on visitor are not counted" in c
    assert "none: the flag is off" in d
