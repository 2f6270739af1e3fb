"""What the pages about rules, units and segments say is so."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.template import Context

from flagstaff import explain, flag_enabled
from flagstaff.models import FeatureFlag, Segment
from flagstaff.validators import validate_conditions, validate_rules
from tests.support.conditions import condition
from tests.support.pages import code_of, names_of, template_of
from tests.support.shop import Shop
from tests.support.terminals import ok
from tests.support.views import request_of, with_flags

pytestmark = pytest.mark.django_db

PAGE, UNITS = "how-to/targeting.md", "how-to/units-and-segments.md"


def json_of(page: str, text: str) -> Any:
    """The document of a page that contains a text."""
    [block] = code_of(page, "json", text)
    return json.loads(block)


def store(key: str, rules: object) -> None:
    validate_rules(rules)
    FeatureFlag.objects.create(key=key, enabled=True, rules=rules)


def user(pk: int, **fields: Any) -> User:
    return User(pk=pk, username=f"user {pk}", **fields)


# The bucket of user 2 for "new_checkout" is 51.


def test_first_rules_select_staff_and_a_share_of_customers() -> None:
    store("new_checkout", json_of(PAGE, "paying customers in DACH"))
    assert flag_enabled("new_checkout", user(2, is_staff=True))
    # Another country, bucket 51 and 25 %, anonymous.
    for of_user, country in ((user(2), "FR"), (user(2), "DE"), (None, "DE")):
        context = {"plan": "pro", "country": country}
        assert not flag_enabled("new_checkout", of_user, context=context)


def test_segment_of_the_page_is_used_by_its_rules() -> None:
    conditions = json_of(UNITS, '"seats"')
    validate_conditions(conditions)
    Segment.objects.create(key="enterprise", conditions=conditions)
    store("new_checkout", json_of(UNITS, "known not to be big"))
    big, small = {"plan": "enterprise", "seats": 100}, {"plan": "enterprise", "seats": 99}
    assert flag_enabled("new_checkout", 2, context=big)
    assert not flag_enabled("new_checkout", 2, context=small)
    # Neither in the segment nor outside: it is not known.
    assert not any(flag_enabled("new_checkout", pk, context={}) for pk in range(1, 200))
    share = [pk for pk in range(1, 200) if flag_enabled("new_checkout", pk, context=small)]
    assert 0 < len(share) < 30


def test_calls_of_the_page_pass_their_context() -> None:
    names = names_of(PAGE, "EXPRESS_SHIPPING")
    for key, attribute, value in [
        ("express_shipping", "country", "DE"),
        ("invoices_as_pdf", "job", "invoices"),
        ("summer_banner", "page", "start"),
        ("new_checkout", "host", "testserver"),
    ]:
        store(key, [{"conditions": [condition(attribute, "in", value)]}])
    order = type("Order", (), {"country": "DE", "user": user(1)})()
    assert names["shipping"](order, user(1))
    assert names["invoice_all"]([order]) == [True]
    assert names["banner"](with_flags(request_of(AnonymousUser())))
    assert names["checkout"](request_of(AnonymousUser())) is None
    [block] = code_of(PAGE, "django")
    template = template_of(block)
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
    names = {**names_of(UNITS, "begin_rollout"), **names_of(UNITS, "index_all")}
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
def test_missing_unit_is_no_user_and_a_number_is_its_text() -> None:
    FeatureFlag.objects.update(rollout_percent=99)
    for unit in (None, "", True, [7], date(2026, 1, 1)):
        found = explain("new_search", context={"organization": unit})
        assert (found.value, found.reason, found.bucket) == (False, "DEFAULT", None), unit
    # A number and its text are the same unit.
    buckets = {explain("new_search", context={"organization": one}).bucket for one in (7, "7")}
    assert len(buckets - {None}) == 1


# Objects by name.


def test_rule_for_two_organizations_has_their_names(shop: Shop, settings: Any) -> None:
    [entry, _function] = names_of(PAGE, '"path"')["FLAGSTAFF"]["ATTRIBUTES"]
    # The groups of a user are those organizations.
    model, path = {"model": "auth.Group"}, {"path": "groups"}
    settings.FLAGSTAFF = {"ATTRIBUTES": [{**entry, **model, **path}]}
    acme, globex = (Group.objects.create(name=name) for name in ("acme", "globex"))
    rules = json.dumps(json_of(UNITS, "first customers"))
    shop.flag(rollout_percent=0)
    ok(f"rules new_checkout '{rules}'")
    for organization in (acme, globex):
        assert flag_enabled("new_checkout", context={"organizations": [organization.pk]})
    assert not flag_enabled("new_checkout", context={"organizations": []})
