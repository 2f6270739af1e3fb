"""The tables of groups are those of the project's own models of users and groups."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, migrations, models
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.test import override_settings

from flagstaff._tables.database import engine_names, fill, names, names_of_groups, sql
from flagstaff._tables.rows import GroupFields, group_fields, readable_groups
from flagstaff._tables.user_lookup import connect_group_signals
from flagstaff.models import FeatureFlag
from tests.support.conditions import condition
from tests.support.shop import Shop
from tests.support.sql import Tokens, rows


def load(names: dict[str, str], *groups: str) -> dict[str, list[Any]]:
    """The members by the name of the group, as workers load them. Workers join equal names."""
    query = fill(sql("load_groups_v1"), names).replace("$1", "%(names)s")
    members: dict[str, list[Any]] = {}
    with connection.cursor() as cursor:
        cursor.execute(query, {"names": [*groups] or None})
        for name, users, _absent in cursor:
            assert all(isinstance(pk, int | str) for pk in users)
            members[name] = sorted([*members.get(name, []), *users])
    return members


def test_groups_that_are_named_exactly_are_loaded_with_their_members(shop: Shop) -> None:
    shop.group("beta").user_set.set([shop.user("alice"), shop.user("bob")])
    shop.group("staff").user_set.set([shop.user("bob")])
    shop.group("empty")
    tables = names(connection)
    assert load(tables, "beta", "empty", "none") == {"beta": [1, 2], "empty": []}
    assert load(tables) == {"beta": [1, 2], "staff": [2], "empty": []}
    assert load(tables, "BETA") == {}
    # Two groups with one name.
    rows("SET CONSTRAINTS ALL IMMEDIATE")
    rows("ALTER TABLE auth_group DROP CONSTRAINT auth_group_name_key")
    Group.objects.filter(name="staff").update(name="beta")
    assert load(tables, "beta") == {"beta": [1, 2, 2]}


@dataclass(frozen=True)
class Project:
    """The models of a project, the model of its users, and the first member of its group."""

    operations: tuple[Operation, ...]
    member: dict[str, Any] = field(default_factory=lambda: {"pk": 7})
    users: str = "common.Member"
    groups: str = "common.Team"
    #: As text or int, as workers read it.
    key: Any = 7

    def migrated(self) -> ProjectState:
        """Creates the tables."""
        executor = MigrationExecutor(connection)
        state = executor.loader.project_state(executor.loader.graph.leaf_nodes())
        body = {"operations": [*self.operations]}
        migration = type("Migration", (migrations.Migration,), body)("0001", "common")
        with connection.schema_editor(atomic=True) as editor:
            after: ProjectState = migration.apply(state, editor)
        return after


def model(name: str, *fields: tuple[str, Any], **options: Any) -> Operation:
    bases = options.pop("bases", (models.Model,))
    return migrations.CreateModel(name, [*fields], options, bases)


def pk(kind: type[Any] = models.BigAutoField, **options: Any) -> tuple[str, Any]:
    return "id", kind(primary_key=True, **options)


def to(label: str, **options: Any) -> Any:
    return models.ForeignKey(label, models.CASCADE, **options)


def link(label: str) -> Any:
    return models.OneToOneField(
        label,
        models.CASCADE,
        parent_link=True,
        auto_created=True,
        primary_key=True,
        serialize=False,
    )


def membership(**fields: dict[str, Any]) -> tuple[Operation, ...]:
    """A through model, and the field of the users that goes through it."""
    columns = [
        (name, to(f"common.{name.title()}", **fields.get(name, {}))) for name in ("team", "member")
    ]
    groups = models.ManyToManyField("common.Team", through="common.Membership")
    return (model("Membership", pk(), *columns), migrations.AddField("Member", "groups", groups))


NAME = ("name", models.TextField())
GROUPS = ("groups", models.ManyToManyField("common.Team"))
TEAM, MEMBER = model("Team", pk(), NAME), model("Member", pk(), GROUPS)
PLAIN_MEMBER = model("Member", pk())
UUID = "00000000-0000-0000-0000-000000000007"

PROJECTS = {
    "other models": Project((TEAM, MEMBER)),
    "uuid of users, text of groups": Project(
        (model("Team", pk(models.TextField), NAME), model("Member", pk(models.UUIDField), GROUPS)),
        {"pk": UUID},
        key=UUID,
    ),
    "groups of django.contrib.auth": Project(
        (model("Member", pk(), ("groups", models.ManyToManyField("auth.Group"))),),
        groups="auth.Group",
    ),
    "through model with other columns": Project(
        (
            model("Team", pk(), ("name", models.TextField(db_column="Name of the 'team'"))),
            PLAIN_MEMBER,
            model(
                "Membership",
                pk(),
                ("inviter", to("common.Member", null=True, related_name="invited")),
                ("team", to("common.Team", db_column="Team {id}")),
                ("member", to("common.Member", db_column="the 'member'")),
                db_table="Members of teams",
            ),
            migrations.AddField(
                "Member",
                "groups",
                models.ManyToManyField(
                    "common.Team", through="common.Membership", through_fields=("member", "team")
                ),
            ),
        )
    ),
    "groups by another unique field": Project(
        (
            model("Team", pk(), NAME, ("slug", models.TextField(unique=True, default="s"))),
            PLAIN_MEMBER,
            *membership(team={"to_field": "slug"}),
        )
    ),
    "users that inherit": Project(
        (
            TEAM,
            model("Person", pk(), GROUPS),
            model("Member", ("person_ptr", link("common.Person")), bases=("common.person",)),
        ),
        {"id": 7},
    ),
    "groups that inherit": Project(
        (model("Team", ("group_ptr", link("auth.Group")), bases=("auth.group",)), MEMBER)
    ),
    "tables in other schemas": Project(
        (
            migrations.RunSQL('CREATE SCHEMA "O\'Neill"'),
            model("Team", pk(), NAME, db_table='O\'Neill"."teams'),
            model(
                "Member",
                pk(),
                ("groups", models.ManyToManyField("common.Team", db_table='O\'Neill"."in teams')),
            ),
        )
    ),
}


@pytest.fixture
def receivers() -> Iterator[Callable[[type[Model]], None]]:
    """Connects the receivers for a user model until the end of the test."""
    signals = (m2m_changed, post_save, post_delete)
    kept = [[*signal.receivers] for signal in signals]
    yield connect_group_signals
    for signal, before in zip(signals, kept, strict=True):
        signal.receivers = before
        signal.sender_receivers_cache.clear()


@pytest.mark.parametrize("project", PROJECTS.values(), ids=PROJECTS)
def test_members_of_a_projects_models_are_loaded_and_named_in_tokens(
    project: Project, receivers: Callable[[type[Model]], None]
) -> None:
    state = project.migrated()
    users, groups = (state.apps.get_model(label) for label in (project.users, project.groups))
    receivers(users)
    beta_rules = [{"conditions": [condition("groups", "in", "beta")]}]
    FeatureFlag.objects.create(key="new_checkout", rules=beta_rules)
    tokens = Tokens()
    beta, member = groups.objects.create(name="beta"), users.objects.create(**project.member)
    assert tokens.pks() == [("g", None)]
    rows("SELECT set_config('flagstaff.group_token', '', true)")
    member.groups.add(beta)
    [(_, pairs)] = tokens.pks()
    assert [user for _, user in pairs or ()] == [str(project.key)]
    fields = group_fields(users)
    assert isinstance(fields, GroupFields)
    assert load(names_of_groups(connection, fields), "beta") == {"beta": [project.key]}
    users_of_beta = getattr(beta, users._meta.get_field("groups").remote_field.get_accessor_name())
    for change in (member.groups.clear, users_of_beta.clear, beta.delete):
        users_of_beta.add(member)
        tokens()
        rows("SELECT set_config('flagstaff.group_token', '', true)")
        change()
        assert tokens() == ["g"]


UNREADABLE: dict[str, tuple[tuple[Operation, ...], str]] = {
    "no groups": ((TEAM, PLAIN_MEMBER), 'common.Member has no ManyToManyField "groups"'),
    "one group": (
        (TEAM, model("Member", pk(), ("groups", to("common.Team", null=True)))),
        'common.Member has no ManyToManyField "groups"',
    ),
    "groups without names": (
        (model("Team", pk()), MEMBER),
        'common.Team has no column "name" in its own table',
    ),
    "groups with several names": (
        (
            model("Label", pk()),
            model("Team", pk(), ("name", models.ManyToManyField("common.Label"))),
            MEMBER,
        ),
        'common.Team has no column "name" in its own table',
    ),
    "users by another unique field": (
        (
            TEAM,
            model("Member", pk(), ("email", models.TextField(unique=True))),
            *membership(member={"to_field": "email"}),
        ),
        "common.Membership does not refer to the primary key of the users",
    ),
}


@pytest.mark.parametrize(("operations", "text"), UNREADABLE.values(), ids=UNREADABLE)
def test_users_without_readable_groups_have_a_reason_and_no_receivers(
    operations: tuple[Operation, ...], text: str, receivers: Callable[[type[Model]], None]
) -> None:
    state = Project(operations).migrated()
    users = state.apps.get_model("common.Member")
    assert group_fields(users) == text
    before = [*m2m_changed.receivers]
    receivers(users)
    assert m2m_changed.receivers == before


@pytest.mark.usefixtures("groups_elsewhere")
@pytest.mark.django_db(databases=["default"])
def test_groups_in_another_database_are_not_read() -> None:
    assert readable_groups(connection, FeatureFlag, User) == (
        "the table of auth.User_groups is in another database than the flags"
    )
    assert not {"membership_table", "group_table"} & {*names(connection)}


class ReadsFromReplica:
    """Reads from another alias than it writes to."""

    def db_for_read(self, model: Any, **hints: object) -> str:
        return "replica"


def test_groups_are_read_where_flags_are_read(settings: Any) -> None:
    settings.DATABASE_ROUTERS = [ReadsFromReplica()]
    assert isinstance(readable_groups(connection, FeatureFlag, User), GroupFields)


@pytest.fixture
def tenants(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is one of django-tenants."""
    monkeypatch.setattr(connection, "set_schema_to_public", None, raising=False)


@pytest.mark.usefixtures("tenants")
@override_settings(
    SHARED_APPS=["flagstaff", "django.contrib.auth"], TENANT_APPS=["django.contrib.auth"]
)
def test_groups_of_tenants_are_not_read() -> None:
    assert readable_groups(connection, FeatureFlag, User) == (
        "each tenant has a table of auth.User_groups, and all tenants share the flags"
    )
    assert "group_table" not in names(connection)


@pytest.mark.usefixtures("tenants")
@override_settings(SHARED_APPS=["flagstaff", "django.contrib.auth"], TENANT_APPS=["shop"])
def test_shared_groups_are_read_from_the_shared_schema() -> None:
    names = engine_names(connection)
    assert names["membership_table"] == '"public"."auth_user_groups"'
    assert names["group_table"] == '"public"."auth_group"'
