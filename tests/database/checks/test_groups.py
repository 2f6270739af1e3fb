"""The checks of groups report what rules read and workers do not see. Their hints fix it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.checks import run_checks
from django.db import connection
from django.test import override_settings

from flagstaff._tables import groups
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from tests.support.sql import rows

pytestmark = pytest.mark.django_db


def messages() -> list[tuple[str, str, str]]:
    """Ids, texts and hints of the checks."""
    found = run_checks(tags=["flagstaff", "database"], databases=["default"])
    return [(str(message.id), message.msg, str(message.hint)) for message in found]


def reads(*groups: object, operator: str = "in") -> list[dict[str, Any]]:
    return [{"attribute": "groups", "operator": operator, "values": [*groups]}]


def create_flag(*groups: str, key: str = "new_checkout") -> None:
    FeatureFlag.objects.create(key=key, rules=[{"conditions": reads(*groups)}])


@pytest.fixture
def beta(db: None) -> Group:
    return Group.objects.create(name="beta")


@pytest.fixture
def flag(beta: Group) -> None:
    """A flag whose rules read the group."""
    create_flag("beta")


def test_project_without_rules_on_groups_has_no_message(beta: Group) -> None:
    Segment.objects.create(key="german", conditions=[{"attribute": "country", "operator": "in"}])
    FeatureFlag.objects.create(key="groups", description='{"attribute": "groups"}')
    about_groups = {"flagstaff.W040", "flagstaff.W055"}
    assert [one for one in messages() if one[0] in about_groups] == []


@pytest.mark.usefixtures("beta")
def test_rules_of_a_value_that_read_groups_are_checked() -> None:
    rules = [{"conditions": reads("beta", "bta"), "value": 50}]
    KeyValueStore.objects.create(key="max_items", value=10, rules=rules)
    [(identifier, text, _hint)] = messages()
    assert identifier == "flagstaff.W041"
    assert text.endswith("in rule 1 of value 'max_items'")


OTHERWISE = (
    'or let the function of "ATTRIBUTES" return the names of groups as another attribute, and '
    "change the rules"
)


def unreadable(why: str) -> str:
    return f"workers cannot read the groups of users: {why}; so conditions on groups are false"


def assert_groups_are_unreadable(why: str, hint: str) -> None:
    found = [one for one in messages() if one[0] == "flagstaff.W040"]
    assert found == [("flagstaff.W040", unreadable(why), f"{hint}, {OTHERWISE}")]


@pytest.mark.usefixtures("flag", "groups_elsewhere")
def test_groups_in_another_database_are_reported() -> None:
    assert_groups_are_unreadable(
        "the table of auth.User_groups is in another database than the flags",
        "write groups and flags to the same database in your router",
    )


@pytest.mark.usefixtures("flag")
@override_settings(SHARED_APPS=["flagstaff"], TENANT_APPS=["django.contrib.auth"])
def test_groups_of_tenants_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "set_schema_to_public", None, raising=False)
    assert_groups_are_unreadable(
        "each tenant has a table of auth.User_groups, and all tenants share the flags",
        "put the app of this model into SHARED_APPS only",
    )


@pytest.mark.usefixtures("flag")
def test_users_without_groups_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "find_field", lambda model, name: None)
    assert_groups_are_unreadable(
        'auth.User has no ManyToManyField "groups"',
        "add PermissionsMixin to the bases of your user model",
    )


@pytest.mark.usefixtures("flag")
def test_role_without_rights_or_with_hidden_rows_of_groups_is_reported() -> None:
    # Before GRANT, which autovacuum of this table waits for: see test_hidden_records.py.
    rows("LOCK TABLE auth_group")
    rows("CREATE ROLE reader; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    rows("GRANT USAGE ON SCHEMA public TO reader")
    rows("REVOKE SELECT ON auth_user_groups, auth_group FROM reader; SET LOCAL ROLE reader")
    assert messages() == [
        (
            "flagstaff.W055",
            unreadable(f'role reader of database "default" may not read public.{table}'),
            f"as the owner of the table, run: GRANT SELECT ON public.{table} TO reader;",
        )
        for table in ("auth_user_groups", "auth_group")
    ]
    rows(
        "RESET ROLE; GRANT SELECT ON auth_user_groups, auth_group TO reader; "
        "ALTER TABLE auth_group ENABLE ROW LEVEL SECURITY; SET LOCAL ROLE reader"
    )
    [(identifier, text, hint)] = [one for one in messages() if one[0] != "flagstaff.W041"]
    assert identifier == "flagstaff.W055"
    assert text == unreadable(
        "row level security can hide rows of public.auth_group from role reader"
    )
    assert "ALTER TABLE public.auth_group DISABLE ROW LEVEL SECURITY" in hint


@pytest.mark.usefixtures("beta")
def test_groups_that_do_not_exist_are_reported_with_the_nearest_names() -> None:
    create_flag("bta", "beta", "unlike")
    Segment.objects.create(key="insiders", conditions=reads("Beta"))
    assert messages() == [
        (
            "flagstaff.W041",
            (
                "rules name groups that do not exist: 'bta' (did you mean 'beta'?) in rule 1 of "
                "'new_checkout', 'unlike' in rule 1 of 'new_checkout', 'Beta' (did you mean "
                "'beta'?) in segment 'insiders'"
            ),
            (
                "no user is in such a group; create it, or correct its name in the rules, which do "
                "not change when a group is renamed"
            ),
        )
    ]


@pytest.mark.usefixtures("beta")
def test_pattern_is_no_name_of_a_group() -> None:
    conditions = [*reads("bet", operator="startswith"), *reads(True, operator="isnull")]
    FeatureFlag.objects.create(key="new_checkout", rules=[{"conditions": conditions}])
    assert messages() == []
    create_flag(*(f"group {number}" for number in range(1000)), key="many")
    assert messages()[0][1].endswith(" and 997 more")
    # Rules of any JSON are no error.
    FeatureFlag.objects.all().delete()
    for number, rules in enumerate(("groups", {"groups": 1}, [["groups"]], [reads("beta")[0]])):
        FeatureFlag.objects.create(key=f"flag_{number}", rules=rules)
    assert {identifier for identifier, _, _ in messages()} <= {"flagstaff.W034"}
