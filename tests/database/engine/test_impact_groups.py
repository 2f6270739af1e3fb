"""Impact counts users by their groups, as evaluations do."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.db.models import Model

from flagstaff import impact, snapshot
from flagstaff.exceptions import FlagstaffError
from flagstaff.models import FeatureFlag, Segment

pytestmark = pytest.mark.django_db


def reads(*groups: object, operator: str = "in", **more: object) -> dict[str, Any]:
    return {"attribute": "groups", "operator": operator, "values": [*groups], **more}


RULES = {
    "one group": [{"conditions": [reads("beta")]}],
    "no member of a group": [{"conditions": [reads("beta", "staff", negate=True)]}],
    "partial": [{"conditions": [reads("beta")], "rollout_percent": 40}],
    "segment": [{"conditions": [{"segment": "insiders"}]}],
    "other operator": [{"conditions": [reads("be", operator="startswith")]}],
    "number": [{"conditions": [reads(42)]}],
    "group without members": [{"conditions": [reads("empty", "none")]}],
    "always there": [{"conditions": [reads(False, operator="isnull")], "rollout_percent": 30}],
}


@pytest.fixture
def users(db: None) -> list[User]:
    """Users in no group, in one, and in two."""
    names = ("beta", "staff", "42", "empty")
    beta, staff, number, _ = (Group.objects.create(name=name) for name in names)
    users = User.objects.bulk_create([User(username=f"user_{place}") for place in range(60)])
    beta.user_set.set(users[::3])
    staff.user_set.set(users[::4])
    number.user_set.set(users[::7])
    Segment.objects.create(key="insiders", conditions=[reads("staff")])
    return users


def results_of_all() -> dict[int, bool]:
    now = snapshot()
    return {user.pk: now.flag_enabled("new_checkout", user) for user in User.objects.all()}


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
def test_counts_by_groups_match_evaluating_every_user(rules: list[Any]) -> None:
    FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=20, rules=rules)
    found = impact("new_checkout", 65, sample=1000)
    now = results_of_all()
    FeatureFlag.objects.update(rollout_percent=65)
    later = results_of_all()
    gain = {pk for pk in now if later[pk] and not now[pk]}
    assert (found.users, found.have, found.gain, found.lose) == (
        *(60, sum(now.values()), len(gain)),
        sum(now[pk] and not later[pk] for pk in now),
    )
    assert set(found.sample) == gain
    assert 0 < found.have < 60


class GroupsElsewhere:
    """Writes groups to another database, and users to this one."""

    def db_for_write(self, model: type[Model], **hints: object) -> str | None:
        return "users" if model._meta.model_name in {"group", "user_groups"} else None


@pytest.mark.usefixtures("users")
def test_groups_that_cannot_be_read_are_missing_for_all_users(settings: Any) -> None:
    settings.DATABASE_ROUTERS = [GroupsElsewhere()]
    rules = RULES["no member of a group"]
    FeatureFlag.objects.create(key="new_checkout", enabled=True, rules=rules)
    assert impact("new_checkout", 0).have == 0


@pytest.mark.usefixtures("users")
def test_hidden_rows_of_groups_raise() -> None:
    FeatureFlag.objects.create(key="new_checkout", enabled=True, rules=RULES["one group"])
    with connection.cursor() as cursor:
        cursor.execute(
            "SET CONSTRAINTS ALL IMMEDIATE; CREATE ROLE clerk; "
            "ALTER TABLE auth_user_groups ENABLE ROW LEVEL SECURITY; "
            "GRANT USAGE ON SCHEMA public TO clerk; "
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO clerk; SET LOCAL ROLE clerk"
        )
    with pytest.raises(FlagstaffError, match=r"hide rows of public\.auth_user_groups"):
        impact("new_checkout", 50)
