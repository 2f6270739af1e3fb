"""What the page about targeting says is so."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.template import Context, Engine
from django.test import RequestFactory
from django.utils.translation import override

from flagstaff import all_flags, explain, flag_enabled
from flagstaff.middleware import FlagstaffMiddleware
from flagstaff.models import FeatureFlag, Segment
from flagstaff.typing import UserLike
from flagstaff.validators import validate_conditions, validate_rules
from tests.support.pages import code_of

pytestmark = pytest.mark.django_db

PAGE = "how-to/targeting.md"


def rules_with(text: str) -> Any:
    """The rules of the page that contain a text."""
    [block] = code_of(PAGE, "json", text)
    return json.loads(block)


def python_with(text: str) -> dict[str, Any]:
    [block] = code_of(PAGE, "python", text)
    names: dict[str, Any] = {}
    exec(block, names)
    return names


def store(key: str, rules: object, rollout_percent: int = 0) -> None:
    validate_rules(rules)
    FeatureFlag.objects.create(key=key, enabled=True, rules=rules, rollout_percent=rollout_percent)


def user(pk: int, **fields: Any) -> User:
    return User(pk=pk, username=f"user {pk}", **fields)


def request_of(user: UserLike) -> Any:
    request: Any = RequestFactory().get("/")
    request.user = user
    return request


# The bucket of user 2 for "new_checkout" is 51.


@pytest.mark.parametrize(
    ("of_user", "context", "expected"),
    [
        (user(2, is_staff=True), {}, True),
        (user(2), {"plan": "pro", "country": "FR"}, False),
        (user(2), {"plan": "pro", "country": "DE"}, False),
        (None, {"plan": "pro", "country": "DE"}, False),
    ],
    ids=["staff", "another country", "bucket 51 and 25 %", "anonymous"],
)
def test_first_rules_select_staff_and_a_share_of_customers(
    of_user: UserLike, context: dict[str, object], *, expected: bool
) -> None:
    store("new_checkout", rules_with("paying customers in DACH"))
    assert flag_enabled("new_checkout", of_user, context=context) is expected


def test_share_of_a_rule_is_that_of_the_flags_buckets() -> None:
    rules = rules_with("paying customers in DACH")
    store("new_checkout", rules)
    FeatureFlag.objects.create(key="plain", enabled=True, rollout_percent=25)
    context = {"plan": "pro", "country": "DE"}
    with_flag = [pk for pk in range(1, 400) if flag_enabled("new_checkout", pk, context=context)]
    FeatureFlag.objects.update(rules=[], rollout_percent=25)
    assert with_flag == [pk for pk in range(1, 400) if flag_enabled("new_checkout", pk)]


def test_segment_of_the_page_is_used_by_its_rules() -> None:
    conditions = rules_with('"seats"')
    validate_conditions(conditions)
    Segment.objects.create(key="enterprise", conditions=conditions)
    store("new_checkout", rules_with("known not to be big"))
    big, small = {"plan": "enterprise", "seats": 100}, {"plan": "enterprise", "seats": 99}
    assert flag_enabled("new_checkout", 2, context=big)
    assert not flag_enabled("new_checkout", 2, context=small)
    # Neither in the segment nor outside: it is not known.
    assert not any(flag_enabled("new_checkout", pk, context={}) for pk in range(1, 200))
    share = [pk for pk in range(1, 200) if flag_enabled("new_checkout", pk, context=small)]
    assert 0 < len(share) < 30


def test_calls_of_the_page_pass_their_context() -> None:
    names = python_with("express_shipping")
    conditions = [{"attribute": "country", "operator": "in", "values": ["DE"]}]
    store("express_shipping", [{"conditions": conditions}])
    order = type("Order", (), {"country": "DE"})()
    assert names["shipping"](order, user(1))
    conditions = [{"attribute": "job", "operator": "in", "values": ["invoices"]}]
    store("invoices_as_pdf", [{"conditions": conditions}])
    order.user = user(1)
    assert names["invoice_all"]([order]) == [True]
    conditions = [{"attribute": "page", "operator": "in", "values": ["start"]}]
    store("summer_banner", [{"conditions": conditions}])
    request = request_of(AnonymousUser())
    FlagstaffMiddleware(lambda request: HttpResponse())(request)
    assert names["banner"](request)
    conditions = [{"attribute": "host", "operator": "in", "values": ["testserver"]}]
    store("new_checkout", [{"conditions": conditions}])
    assert names["checkout"](request_of(AnonymousUser())) is None


def test_template_of_the_page_passes_its_context() -> None:
    conditions = [{"attribute": "country", "operator": "in", "values": ["DE"]}]
    store("express_shipping", [{"conditions": conditions}])
    libraries = {"flagstaff": "flagstaff.templatetags.flagstaff"}
    [block] = code_of(PAGE, "django")
    template = Engine(libraries=libraries).from_string(block)
    assert "Tomorrow" in template.render(Context({"order": {"country": "DE"}}))
    assert "Tomorrow" not in template.render(Context({"order": {"country": "FR"}}))


# Bucketing unit.


ORGANIZATIONS = 20


def organization_of(user: Any, request: object) -> dict[str, object]:
    """The function of ATTRIBUTES."""
    return {"organization": user.pk % ORGANIZATIONS}


@pytest.fixture
def search(settings: Any) -> dict[str, Any]:
    """The functions of the page, after the rollout has begun."""
    settings.FLAGSTAFF = {"ATTRIBUTES": f"{__name__}.organization_of"}
    FeatureFlag.objects.create(key="new_search", enabled=True)
    names = {**python_with("begin_rollout"), **python_with("index_all")}
    names["begin_rollout"]()
    return names


def test_users_of_an_organization_have_the_same_result(search: dict[str, Any]) -> None:
    organizations = [type("Organization", (), {"pk": pk})() for pk in range(ORGANIZATIONS)]
    with_flag = {organization.pk for organization in search["index_all"](organizations)}
    assert 0 < len(with_flag) < ORGANIZATIONS
    for pk in range(1, 5 * ORGANIZATIONS):
        has_flag = search["search"](request_of(user(pk)))
        assert has_flag is (pk % ORGANIZATIONS in with_flag)


@pytest.mark.usefixtures("search")
@pytest.mark.parametrize("unit", [None, "", True, [7], date(2026, 1, 1)], ids=repr)
def test_missing_unit_is_no_user(unit: object) -> None:
    FeatureFlag.objects.update(rollout_percent=99)
    found = explain("new_search", context={"organization": unit})
    assert (found.value, found.reason, found.bucket) == (False, "DEFAULT", None)


@pytest.mark.usefixtures("search")
@pytest.mark.parametrize(("percent", "reads"), [(0, 0), (1, 1), (99, 1), (100, 0)])
def test_unit_is_not_read_at_0_and_100_percent(
    percent: int, reads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Any] = []

    def remember(of_user: Any, request: object) -> dict[str, object]:
        read.append(of_user)
        return {}

    monkeypatch.setattr(f"{__name__}.organization_of", remember)
    FeatureFlag.objects.update(rollout_percent=percent)
    assert flag_enabled("new_search", user(1)) is (percent == 100)
    assert len(read) == reads


@pytest.mark.usefixtures("search")
def test_number_and_text_are_the_same_unit() -> None:
    buckets = {explain("new_search", context={"organization": one}).bucket for one in (7, "7")}
    assert len(buckets) == 1


@pytest.mark.usefixtures("search")
def test_unit_decides_the_percentages_of_rules() -> None:
    FeatureFlag.objects.update(rollout_percent=25)
    with_flag = [pk for pk in range(1, 100) if flag_enabled("new_search", user(pk))]
    rules = [
        {
            "conditions": [{"attribute": "is_authenticated", "operator": "in", "values": [True]}],
            "rollout_percent": 25,
        }
    ]
    FeatureFlag.objects.update(rollout_percent=0, rules=rules)
    assert with_flag == [pk for pk in range(1, 100) if flag_enabled("new_search", user(pk))]


def test_allowed_users_stay_users() -> None:
    flag = FeatureFlag.objects.create(key="new_search", enabled=True, bucket_by="organization")
    allowed = User.objects.create(username="alice")
    flag.allowed_users.add(allowed)
    assert flag_enabled("new_search", allowed.pk)
    assert not flag_enabled("new_search", allowed.pk + 1)


# From django-waffle.


@pytest.fixture
def waffle() -> None:
    store("new_checkout", rules_with('"languages"'), rollout_percent=20)


def visit(of_user: UserLike, language: str) -> bool:
    """Whether a request in this language has the flag."""
    add_language = python_with("language_for_flags")["language_for_flags"]
    results: list[bool] = []

    def view(request: Any) -> HttpResponse:
        results.append(request.flags.enabled("new_checkout"))
        return HttpResponse()

    request: HttpRequest = request_of(of_user)
    with override(language):
        request.LANGUAGE_CODE = language
        FlagstaffMiddleware(add_language(view))(request)
    return results[0]


@pytest.mark.usefixtures("waffle")
def test_superusers_and_staff_of_a_waffle_flag_have_it() -> None:
    assert visit(user(2, is_superuser=True), "en")
    assert visit(user(2, is_staff=True), "en")
    assert not visit(user(2), "en")


@pytest.mark.usefixtures("waffle")
def test_languages_of_a_waffle_flag_have_it_also_when_anonymous() -> None:
    assert visit(AnonymousUser(), "de")
    assert visit(user(2), "fr")
    assert not visit(AnonymousUser(), "en")


@pytest.mark.usefixtures("waffle")
def test_percent_of_a_waffle_flag_is_its_rollout() -> None:
    with_flag = [pk for pk in range(1, 1001) if flag_enabled("new_checkout", pk)]
    FeatureFlag.objects.update(rules=[])
    assert with_flag == [pk for pk in range(1, 1001) if flag_enabled("new_checkout", pk)]
    assert 150 < len(with_flag) < 250


def test_authenticated_of_a_waffle_flag_is_a_rule() -> None:
    store("new_checkout", rules_with('"is_authenticated"'))
    assert all_flags(user(2)) == all_flags(2) == {"new_checkout": True}
    assert all_flags(AnonymousUser()) == all_flags(None) == {"new_checkout": False}


def test_everyone_of_a_waffle_flag_is_a_rollout_of_100_percent_or_a_disabled_flag() -> None:
    store("new_checkout", rules_with('"languages"'), rollout_percent=100)
    assert visit(AnonymousUser(), "en")
    FeatureFlag.objects.update(enabled=False)
    assert not visit(user(2, is_superuser=True), "de")
