"""What the pages about rules, units and segments say is so."""

import json
from collections import Counter
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.template import Context

from flagstaff import flag_enabled, snapshot
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
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


def test_rule_of_the_page_is_for_its_groups() -> None:
    store("new_checkout", json_of(PAGE, "beta testers"))
    tester, other = User.objects.create(username="tester"), User.objects.create(username="other")
    tester.groups.add(Group.objects.create(name="beta"))
    assert flag_enabled("new_checkout", tester)
    assert not flag_enabled("new_checkout", other)


ORGANIZATIONS = 20


def organization_of(user: Any, request: object) -> dict[str, object]:
    """The function of ATTRIBUTES."""
    return {"organization": user.pk % ORGANIZATIONS}


@pytest.fixture
def search(settings: Any) -> dict[str, Any]:
    """The functions of the page, after the rollout has begun."""
    settings.FLAGSTAFF = {"ATTRIBUTES": f"{__name__}.organization_of"}
    FeatureFlag.objects.create(
        key="new_search", enabled=True, bucket_by="organization", rollout_percent=25
    )
    return names_of(UNITS, "index_all")


def test_users_of_an_organization_have_the_same_result(search: dict[str, Any]) -> None:
    organizations = [type("Organization", (), {"pk": pk})() for pk in range(ORGANIZATIONS)]
    with_flag = {organization.pk for organization in search["index_all"](organizations)}
    assert 0 < len(with_flag) < ORGANIZATIONS
    for pk in range(1, 5 * ORGANIZATIONS):
        has_flag = search["search"](request_of(user(pk)))
        assert has_flag is (pk % ORGANIZATIONS in with_flag)


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


USERS = 400


def users_with(key: str, users: int = USERS) -> set[int]:
    """Returns the primary keys, of so many, that have a flag."""
    flags = snapshot()
    return {pk for pk in range(users) if flags.flag_enabled(key, pk)}


def units_of(key: str) -> set[int]:
    """Returns the primary keys that take part in an experiment."""
    flags = snapshot()
    return {pk for pk in range(USERS) if flags.explain(key, pk, kind="variant")["value"]}


def test_flag_that_needs_another_one_is_off_where_that_is() -> None:
    needed = FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=50)
    store("express_shipping", json_of(UNITS, "with the new checkout"))
    assert len(users_with("new_checkout")) in range(150, 250)
    assert users_with("express_shipping") == users_with("new_checkout")
    FeatureFlag.objects.filter(pk=needed.pk).update(enabled=False)
    assert users_with("express_shipping") == set()


def test_unit_of_a_holdout_is_in_no_experiment(shop: Shop) -> None:
    conditions = json_of(UNITS, '"holdout_2027", "operator"')
    Segment.objects.create(key="holdout_2027", conditions=conditions)
    store("held_out", [{"conditions": conditions}])
    for key in ("button", "headline"):
        shop.experiment(key, state="running", rules=json_of(UNITS, "not held out"))
    held_out = users_with("held_out")
    assert 5 < len(held_out) < 40
    for key in ("button", "headline"):
        assert units_of(key) == {*range(USERS)} - held_out


def test_experiments_that_share_a_name_exclude_each_other(shop: Shop) -> None:
    first = json_of(UNITS, "first half")
    second = json.loads(json.dumps(first).replace('"lt"', '"gte"'))
    for key, rules in {"button": first, "headline": second}.items():
        shop.experiment(key, state="running", rules=rules)
    both = units_of("button"), units_of("headline")
    assert set.intersection(*both) == set()
    assert set.union(*both) == {*range(USERS)}


def test_bucket_below_one_percent_keeps_its_users_when_it_grows() -> None:
    rules = json_of(UNITS, "one in a thousand")
    store("new_search", rules)
    store("wider", json.loads(json.dumps(rules).replace("0.1", "0.5")))
    thousandth = users_with("new_search", 20_000)
    assert 8 < len(thousandth) < 40
    assert thousandth < users_with("wider", 20_000)


def test_value_is_split_by_the_first_bucket_that_matches() -> None:
    rules = json_of(UNITS, "button_split")
    KeyValueStore.objects.create(key="button_color", value="grey", rules=rules)
    values = snapshot()
    colors = Counter(values.get_value("button_color", user=pk) for pk in range(2_000))
    shares = {color: count / 2_000 for color, count in colors.items()}
    assert shares == {
        "green": pytest.approx(0.2, abs=0.04),
        "blue": pytest.approx(0.3, abs=0.04),
        "grey": pytest.approx(0.5, abs=0.04),
    }
