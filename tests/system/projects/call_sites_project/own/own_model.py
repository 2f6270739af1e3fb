"""What holds for a project's flag model, with waffle and with the stand-in."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import waffle
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection
from django.db.models.signals import m2m_changed
from django.test import RequestFactory
from waffle import get_setting
from waffle.models import Flag
from waffle.signals import flag_membership_changed
from waffle.testutils import override_flag
from waffle.utils import get_cache, keyfmt

pytestmark = pytest.mark.django_db
TeamFlag: Any = waffle.get_waffle_flag_model()
SelfEvaluatingFlag: Any = apps.get_app_config("own").get_model("SelfEvaluatingFlag")


def is_on(user: User) -> bool:
    # As after a commit.
    TeamFlag.objects.get(name="beta").flush()
    request: Any = RequestFactory().get("/")
    request.user = user
    return bool(waffle.flag_is_active(request, "beta"))


def test_model_of_the_setting_has_the_flags() -> None:
    assert get_setting("FLAG_MODEL") == "own.TeamFlag"
    assert TeamFlag._meta.label == "own.TeamFlag"
    with override_flag("beta", active=True):
        assert TeamFlag.objects.get(name="beta").everyone is True


def test_replaced_model_keeps_its_table() -> None:
    assert Flag._meta.swapped == "own.TeamFlag"
    assert Flag._meta.db_table in connection.introspection.table_names()
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize("relation", ["users", "groups"])
def test_users_and_groups_decide(relation: str) -> None:
    user, other = (User.objects.create(username=name) for name in ("ada", "eve"))
    group = Group.objects.create(name="testers")
    user.groups.add(group)
    row = TeamFlag.objects.create(name="beta")
    getattr(row, relation).add({"users": user, "groups": group}[relation])
    assert (is_on(user), is_on(other)) == (True, False)
    getattr(row, relation).clear()
    assert not is_on(user)


def test_handler_of_waffle_serves_a_relation_of_the_project(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(TeamFlag, "flush", lambda row: flushed.append(row.name))
    row, team = TeamFlag.objects.create(name="beta"), Group.objects.create(name="testers")
    m2m_changed.connect(flag_membership_changed, TeamFlag.teams.through)
    try:
        row.teams.add(team)
    finally:
        m2m_changed.disconnect(flag_membership_changed, TeamFlag.teams.through)
    assert "beta" in flushed
    names = [*inspect.signature(flag_membership_changed).parameters]
    assert names == ["sender", "instance", "action", "kwargs"]


def test_cached_row_of_a_project_is_returned() -> None:
    row = TeamFlag.objects.create(name="beta")
    # As a project does, and as workers that still run waffle do.
    get_cache().set(TeamFlag._cache_key("beta"), row)
    assert SelfEvaluatingFlag.get("beta").pk == row.pk


def test_cache_has_the_entries_of_waffle() -> None:
    user, group = User.objects.create(username="ada"), Group.objects.create(name="testers")
    row = SelfEvaluatingFlag.objects.create(name="beta")
    row.users.add(user)
    row.groups.add(group)
    request: Any = RequestFactory().get("/")
    request.user = User.objects.create(username="eve")
    SelfEvaluatingFlag.get("beta").is_active(request)
    assert get_cache().get(SelfEvaluatingFlag._cache_key("beta")) == row
    for setting, pk in (("FLAG_USERS_CACHE_KEY", user.pk), ("FLAG_GROUPS_CACHE_KEY", group.pk)):
        assert get_cache().get(keyfmt(get_setting(setting), "beta")) == {pk}


def test_missing_flag_that_is_created_is_found(settings: Any) -> None:
    settings.WAFFLE_CREATE_MISSING_FLAGS = True
    assert not SelfEvaluatingFlag.get("new").is_active(RequestFactory().get("/"))
    assert SelfEvaluatingFlag.get("new").pk is not None
