"""A Django project with flags, values and users, for the benchmarks."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.support.settings")

#: A column of the user that rules read.
COLUMN = "last_name"
#: Flags with one rule each: on an attribute of the context, a column, and a built-in attribute.
RULES = {
    "rule_context": {"attribute": "country", "operator": "in", "values": ["DE", "AT", "CH"]},
    "rule_column": {"attribute": COLUMN, "operator": "in", "values": ["DE", "AT", "CH"]},
    "rule_staff": {"attribute": "is_staff", "operator": "in", "values": [True]},
    "rule_group": {"attribute": "groups", "operator": "in", "values": ["beta"]},
}
#: An experiment for everyone, by user.
EXPERIMENT = "split_1"
#: The members of the group.
MEMBERS = 100_000
_ADD_MEMBERS = """
    INSERT INTO auth_user (
        username, password, first_name, last_name, email, is_staff, is_superuser, is_active,
        date_joined
    )
    SELECT 'member ' || number, '', '', '', '', false, false, true, now()
    FROM generate_series(1, %s) AS number;
    INSERT INTO auth_user_groups (user_id, group_id)
    SELECT auth_user.id, auth_group.id FROM auth_user, auth_group;
"""


def outside(key: str) -> Any:
    """Returns the first user outside a rollout of 50 %."""
    from django.contrib.auth import get_user_model  # noqa: PLC0415 (after set-up)

    def bucket(user: Any) -> int:
        return int(sha256(f"{key}:{user.pk}".encode()).hexdigest(), 16) % 100

    users: Any = get_user_model()
    return next(user for user in users.objects.order_by("pk") if bucket(user) >= 50)  # noqa: PLR2004


def start_django() -> None:
    """Sets up Django, with ATTRIBUTES."""
    django.setup()
    from django.conf import settings  # noqa: PLC0415 (after set-up)

    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": [COLUMN]}


def set_up() -> None:
    """Migrates the database of DATABASE_URL and fills it."""
    start_django()
    from django.contrib.auth import get_user_model  # noqa: PLC0415 (after set-up)
    from django.core.management import call_command  # noqa: PLC0415

    from flagstaff.models import FeatureFlag, KeyValueStore  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    FeatureFlag.objects.all().delete()
    KeyValueStore.objects.all().delete()
    users: Any = get_user_model()
    users.objects.all().delete()
    users.objects.bulk_create(
        [users(username=f"user {number}", is_staff=True, **{COLUMN: "AT"}) for number in range(100)]
    )
    FeatureFlag.objects.bulk_create(
        [
            FeatureFlag(key=f"flag_{number}", enabled=True, rollout_percent=50)
            for number in range(197)
        ]
        + [
            FeatureFlag(key=key, enabled=True, rules=[{"conditions": [condition]}])
            for key, condition in RULES.items()
        ]
        + [
            FeatureFlag(key="everyone", enabled=True, rollout_percent=100),
            FeatureFlag(key="disabled", enabled=False, rollout_percent=50),
            FeatureFlag(key="listed", enabled=True, rollout_percent=50),
            FeatureFlag(key="by_country", enabled=True, rollout_percent=50, bucket_by="country"),
            FeatureFlag(key="by_visitor", enabled=True, rollout_percent=50, bucket_by="visitor"),
        ]
    )
    FeatureFlag.objects.get(key="listed").allowed_users.add(outside("listed"))
    KeyValueStore.objects.create(key="gateway", value="stripe")
    for key in ("context", "staff"):
        rules = [{"conditions": [RULES[f"rule_{key}"]], "value": "paypal"}]
        KeyValueStore.objects.create(key=f"value_{key}", value="stripe", rules=rules)
    _start_experiments()


def _start_experiments() -> None:
    from flagstaff import experiments  # noqa: PLC0415 (after set-up)
    from flagstaff.experiments.models import Experiment  # noqa: PLC0415

    Experiment.objects.all().delete()
    experiments.create(EXPERIMENT)
    experiments.start(EXPERIMENT)


def add_members(count: int = MEMBERS) -> None:
    """Adds all users and so many more to the group of a rule."""
    from django.contrib.auth.models import Group  # noqa: PLC0415 (after set-up)
    from django.db import connection  # noqa: PLC0415

    Group.objects.all().delete()
    Group.objects.create(name="beta")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM auth_user WHERE username LIKE 'member %'")
        cursor.execute(_ADD_MEMBERS, [count])
