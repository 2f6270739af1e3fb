"""Attributes that hold primary keys of objects: rules keep keys, people read and write names."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.admin import site
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import ValidationError
from django.db import connection, models
from django.test import Client
from django.test.utils import isolate_apps

from flagstaff import flag_enabled
from flagstaff._tables.attributes import ObjectReader, Objects, counted_objects, known_objects
from flagstaff._tables.rows import Kind
from flagstaff.changes.impact import impact_of_enabling
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import flag_url
from tests.support.conditions import condition
from tests.support.fixtures import Load
from tests.support.screen import Screen
from tests.support.shop import Shop
from tests.support.terminals import document, ok, refused

#: The groups of a user are those organizations.
ORGANIZATIONS = {"name": "organizations", "model": "auth.Group", "path": "groups"}


def attributes(user: User | None, request: object) -> dict[str, object]:
    """The function of ATTRIBUTES."""
    return {} if user is None else {"organizations": [group.pk for group in user.groups.all()]}


@pytest.fixture
def declare(settings: Any) -> Any:
    """Sets the attributes of the project."""

    def declare(*entries: object) -> None:
        settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": [*entries]}

    declare(ORGANIZATIONS)
    return declare


@pytest.fixture
def acme(declare: Any, shop: Shop) -> Group:
    """An organization with two users, of whom one is in another one, too."""
    acme, globex = (Group.objects.create(name=name) for name in ("acme", "globex"))
    shop.user("alice").groups.set([acme, globex])
    shop.user("bob").groups.set([acme])
    shop.user("carol")
    return acme


def rules_for(*keys: object) -> list[dict[str, Any]]:
    return [{"conditions": [condition("organizations", "in", *keys)]}]


def test_rules_of_a_file_may_have_names_and_keep_keys(shop: Shop, acme: Group) -> None:
    shop.flag(rollout_percent=0)
    names = rules_for("acme", f"globex ({Group.objects.get(name='globex').pk})", 7_000)
    shown = ok(f"rules new_checkout '{json.dumps(names)}'")
    [rule] = shop.flag().rules
    [stored] = rule["conditions"]
    assert stored["values"] == [*Group.objects.order_by("name").values_list("pk", flat=True), 7_000]
    assert f'organizations is "acme" ({acme.pk}) or "globex"' in shown.out + shown.err
    # Data has keys alone.
    assert document("show", "new_checkout")["rules"] == [rule]


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("Can view log", "No permission has the name or primary key “Can view log”. Did you mean"),
        ("same", "“same” is the name or primary key of several objects (permission)."),
    ],
)
def test_name_that_is_unknown_or_ambiguous_is_refused(
    shop: Shop, declare: Any, written: str, problem: str
) -> None:
    declare({"name": "organizations", "model": "auth.Permission"})
    same = Permission.objects.filter(codename__in=["add_group", "add_user"])
    same.update(name="same")
    shop.flag()
    ran = refused(f"rules new_checkout '{json.dumps(rules_for(written))}'", 2, problem)
    if written == "same":
        for permission in same:
            assert str(permission.pk) in ran.err
    assert shop.flag().rules == []


def test_text_that_is_the_key_of_one_object_and_the_name_of_another_is_refused(acme: Group) -> None:
    other = Group.objects.create(name=str(acme.pk))
    with pytest.raises(ValidationError, match=f"{acme.pk}, {other.pk}|{other.pk}, {acme.pk}"):
        ObjectReader().keys("organizations", [str(acme.pk)])
    # A number is a key.
    assert ObjectReader().keys("organizations", [acme.pk]) == [acme.pk]


def test_explain_takes_a_name_and_reads_a_user_by_the_path(shop: Shop, acme: Group) -> None:
    shop.flag(rules=rules_for(acme.pk), rollout_percent=0)
    assert document("explain", "new_checkout", "--anonymous", "--context", "organizations=acme")[
        "value"
    ]
    shown = ok("explain new_checkout bob")
    assert "is on for user 2" in shown.out
    assert "Read by the path in ATTRIBUTES" in shown.err
    assert "is off for user 3" in ok("explain new_checkout carol").out
    refused("explain new_checkout --anonymous --context organizations=acne", 2, "Did you mean")


TEXT, A_UUID = "gl(o)bex", "6f9619ff-8b86-d011-b42d-00cf4fc964ff"


@pytest.fixture
def companies(monkeypatch: pytest.MonkeyPatch) -> Callable[[models.Field[Any, Any], str], Any]:
    """Makes a table with this primary key, and the company Globex with this key in it."""

    def companies(pk: models.Field[Any, Any], key: str) -> Any:
        fields = {"pk_of_it": pk, "name": models.TextField(), "__module__": __name__}
        with isolate_apps("tests"):
            fields["Meta"] = type("Meta", (), {"app_label": "tests", "verbose_name": "company"})
            company: Any = type("Company", (models.Model,), fields)
        with connection.schema_editor() as editor:
            editor.create_model(company)
        known = {"companies": Objects(company, "name", None)}
        monkeypatch.setattr("flagstaff._tables.attributes.known_objects", lambda: known)
        return company.objects.create(pk=key, name="Globex")

    return companies


TEXT_PK = partial(models.CharField, primary_key=True, max_length=50)
UUID_PK = partial(models.UUIDField, primary_key=True)


@pytest.mark.parametrize(("pk", "key"), [(TEXT_PK, TEXT), (UUID_PK, A_UUID)])
def test_name_and_key_that_is_no_number_stand_for_its_text(
    pk: Any, key: str, companies: Any
) -> None:
    companies(pk(), key)
    reader = ObjectReader()
    for typed in ("Globex", key, f"Globex ({key})"):
        assert reader.keys("companies", [typed]) == [key]
    assert reader.names("companies", [key]) == ["Globex"]


def test_uuid_of_another_form_becomes_that_of_the_context(companies: Any) -> None:
    companies(UUID_PK(), A_UUID)
    deleted = "7" + A_UUID[1:]
    typed = [A_UUID.upper(), A_UUID.replace("-", ""), deleted.upper()]
    assert ObjectReader().keys("companies", typed) == [A_UUID, A_UUID, deleted]


@pytest.mark.parametrize(("pk", "key"), [(TEXT_PK, TEXT), (UUID_PK, A_UUID)])
def test_wrong_name_is_refused_where_keys_are_no_numbers(pk: Any, key: str, companies: Any) -> None:
    companies(pk(), key)
    with pytest.raises(ValidationError, match="Did you mean “Globex”"):
        ObjectReader().keys("companies", ["Globec"])


def test_text_that_is_like_no_name_or_belongs_to_a_hidden_object_is_a_key(companies: Any) -> None:
    globex = companies(TEXT_PK(), TEXT)
    type(globex).objects.create(pk="globex-2", name="hidden")
    visible = ObjectReader(lambda model: model._base_manager.filter(name="Globex"))
    assert visible.keys("companies", ["deleted", "globex-2"]) == ["deleted", "globex-2"]


def test_evaluation_takes_the_keys_from_the_context_or_the_function_alone(
    shop: Shop, acme: Group, declare: Any, load: Load
) -> None:
    shop.flag(rules=rules_for(acme.pk), rollout_percent=0)
    load()
    bob = shop.user("bob")
    assert not flag_enabled("new_checkout", bob)
    assert flag_enabled("new_checkout", bob, context={"organizations": [acme.pk]})
    declare(ORGANIZATIONS, f"{__name__}.attributes")
    assert flag_enabled("new_checkout", bob)
    assert not flag_enabled("new_checkout", shop.user("carol"))


def test_users_are_counted_by_the_path_as_the_function_evaluates_them(
    shop: Shop, acme: Group, declare: Any, load: Load
) -> None:
    globex = Group.objects.get(name="globex").pk
    cases = {
        "one": [condition("organizations", "in", acme.pk)],
        "both": [condition("organizations", "in", acme.pk, globex)],
        "other": [condition("organizations", "in", globex)],
        "neither": [condition("organizations", "in", globex, negate=True)],
        "none": [condition("organizations", "isnull", True)],
    }
    flags = [
        FeatureFlag.objects.create(key=key, enabled=False, rules=[{"conditions": conditions}])
        for key, conditions in cases.items()
    ]
    effects = impact_of_enabling(flags)
    assert [effects[Kind.FLAG, flag.key].problem for flag in flags] == [""] * len(flags)
    assert [effects[Kind.FLAG, flag.key].ignored for flag in flags] == [()] * len(flags)
    FeatureFlag.objects.update(enabled=True)
    declare(ORGANIZATIONS, f"{__name__}.attributes")
    load()
    for flag in flags:
        evaluated = sum(flag_enabled(flag.key, user) for user in User.objects.all())
        assert effects[Kind.FLAG, flag.key].gain == evaluated, flag.key


def test_users_are_counted_by_a_path_of_several_steps_and_in_a_sample(
    shop: Shop, acme: Group, declare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare({"name": "organizations", "model": "auth.Permission", "path": "groups__permissions"})
    permission = Permission.objects.all()[0]
    acme.permissions.add(permission)
    flag = shop.flag("invoices", rules=rules_for(permission.pk))
    assert impact_of_enabling([flag])[Kind.FLAG, "invoices"].gain == 2
    monkeypatch.setattr("flagstaff.changes.impact._MAX_USERS", 1)
    monkeypatch.setattr("flagstaff.changes.impact._BATCH", 1)
    assert impact_of_enabling([flag])[Kind.FLAG, "invoices"].gain == 2


def test_path_and_foreign_key_to_one_object_give_one_key(
    acme: Group, declare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    memberships = User.groups.through
    of_users = SimpleNamespace(model=memberships)
    monkeypatch.setattr("flagstaff._tables.attributes.user_field", lambda _model: of_users)
    declare("group", {"name": "organization", "model": "auth.Group", "path": "group"})
    # A column is counted as it is.
    assert known_objects()["group"].model is Group
    [(name, counted)] = counted_objects().items()
    assert name == "organization"
    of_bob = memberships._base_manager.filter(user__username="bob").values_list(counted)
    assert [*of_bob] == [(acme.pk,)]


def test_attribute_without_a_path_is_named_as_not_counted(
    shop: Shop, acme: Group, declare: Any
) -> None:
    declare({"name": "organizations", "model": "auth.Group"})
    flag = shop.flag("invoices", rules=rules_for(acme.pk))
    assert impact_of_enabling([flag])[Kind.FLAG, "invoices"].ignored == ("organizations",)


@pytest.fixture
def flag(shop: Shop, acme: Group) -> FeatureFlag:
    """A flag that is on for an organization, and for one that was deleted."""
    return shop.flag(rules=rules_for(acme.pk, 7_000), rollout_percent=0)


@pytest.fixture
def ana(shop: Shop) -> Client:
    return shop.client("ana")


@pytest.fixture
def bea(shop: Shop) -> Client:
    """Somebody who may change flags, and view neither groups nor users."""
    return shop.client("bea", "change_featureflag", "view_featureflag")


def rules_page(client: Client, flag: FeatureFlag, **posted: str) -> Screen:
    url = flag_url(flag).replace("change/", "rules/")
    return Screen(client.post(url, posted) if posted else client.get(url))


def test_page_and_editor_show_names_beside_the_keys(
    ana: Client, flag: FeatureFlag, acme: Group
) -> None:
    page = Screen(ana.get(flag_url(flag)))
    assert f'organizations is "acme" ({acme.pk}) or 7000' in page.text
    assert rules_page(ana, flag).fields()["rules-0-0-values"] == f"acme ({acme.pk}), 7000"


def test_person_without_the_right_to_view_sees_and_writes_keys(
    bea: Client, flag: FeatureFlag, acme: Group
) -> None:
    for page in (Screen(bea.get(flag_url(flag))), rules_page(bea, flag)):
        assert "acme" not in page.text
        assert "globex" not in page.text
    fields = rules_page(bea, flag).fields()
    assert fields["rules-0-0-values"] == f"{acme.pk}, 7000"
    problems = {
        rules_page(bea, flag, **{**fields, "rules-0-0-values": name})
        .part("[id$=values_error]")
        .text
        for name in ("acme", "nobody")
    }
    assert problems == {"The names of this model cannot be read here: group. Write primary keys."}


def test_rows_that_the_admin_of_the_project_hides_have_no_names(
    ana: Client, flag: FeatureFlag, acme: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = site.get_model_admin(Group)
    rows = Group.objects.exclude(pk=acme.pk)
    monkeypatch.setattr(admin, "get_queryset", lambda request: rows)
    assert "acme" not in rules_page(ana, flag).text + Screen(ana.get(flag_url(flag))).text
    assert rules_page(ana, flag).fields()["rules-0-0-values"] == f"{acme.pk}, 7000"


def test_flag_is_on_for_two_organizations_in_few_clicks(
    ana: Client, shop: Shop, acme: Group
) -> None:
    flag = shop.flag(rollout_percent=0)
    # The link on the page is the first click, the button of the attribute the second one.
    fields = rules_page(ana, flag).fields()
    edited = rules_page(ana, flag, **fields, _edit="attribute::organizations").fields()
    assert edited["rules-0-0-attribute"] == "organizations"
    edited["rules-0-0-values"] = "acme, globex"
    counted = rules_page(ana, flag, **edited, _edit="preview")
    # Alice is an allowed user already.
    assert "1 user gains the flag. Afterwards 2 of 4 users have it." in counted.text
    # The button that saves is the third click.
    rules_page(ana, flag, **counted.fields())
    [stored] = shop.flag().rules[0]["conditions"]
    assert stored["values"] == [*Group.objects.order_by("name").values_list("pk", flat=True)]


def test_objects_are_searched_while_a_name_is_typed(ana: Client, flag: FeatureFlag) -> None:
    Group.objects.create(name="Globe, Inc.")
    fields = {**rules_page(ana, flag).fields(), "rules-0-0-values": "acme, glob"}
    page = rules_page(ana, flag, **fields, _edit="preview")
    offered = [button for button in page.attributes("[name=_edit]", "value") if "pick" in button]
    assert [button.split(":")[2].split(" (")[0] for button in offered] == ["Globe, Inc.", "globex"]
    picked = rules_page(ana, flag, **fields, _edit=offered[0]).fields()["rules-0-0-values"]
    assert picked.startswith('acme, "Globe, Inc. (')


def test_renamed_object_keeps_its_key_while_it_is_edited(
    ana: Client, flag: FeatureFlag, acme: Group
) -> None:
    fields = rules_page(ana, flag).fields()
    Group.objects.filter(pk=acme.pk).update(name="acme-old")
    Group.objects.create(name="acme")
    edited = rules_page(ana, flag, **fields, _edit="preview").fields()
    assert edited["rules-0-0-values"].startswith(f"acme ({acme.pk})")
    assert ObjectReader().keys("organizations", [f"acme ({acme.pk})"]) == [acme.pk]


def test_evaluation_of_a_page_takes_names_and_the_path(
    ana: Client, flag: FeatureFlag, acme: Group
) -> None:
    def shown(**typed: str) -> str:
        return Screen(ana.get(flag_url(flag), typed)).part("#who-has-it").text

    assert "On for anonymous users." in shown(user="", context="organizations=acme")
    by_path = shown(user="bob")
    assert "On for bob" in by_path
    assert "Read by the path in ATTRIBUTES" in by_path
    assert "Off for carol" in shown(user="carol")
    assert "Did you mean “acme”?" in shown(user="", context="organizations=acne")
