"""The shop of the documentation, which the tests use: its users, flags, values, segments and more.

A test asks for a row by its name, `shop.flag("new_checkout")`, and the shop creates it at the first
time. So a database has the rows that the test names, and no others, unless it opens the whole shop.
"""

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, TypeVar
from unittest.mock import patch

from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.db.models import Model
from django.test import Client

from flagstaff import experiments
from flagstaff.experiments.models import Experiment
from flagstaff.models import FeatureFlag, KeyValueStore, Segment, WaitingAction
from flagstaff.rollouts import plans
from flagstaff.rollouts.models import Plan
from tests.support.experiments import KEY as EXPERIMENT
from tests.support.experiments import expose_both
from tests.support.plans import STEPS, drive_recently
from tests.support.sql import repeat
from tests.support.usage_rows import add_usage, delete_usage
from tests.support.waiting import ask

Row = TypeVar("Row", bound=Model)

OPENED = datetime(2026, 11, 20, 8, 17, tzinfo=timezone.utc)

STAFF = {"attribute": "is_staff", "operator": "in", "values": [True]}
GERMAN = {"attribute": "country", "operator": "in", "values": ["DE"]}
#: The rule of everybody there.
GERMANY = {"conditions": [GERMAN]}
ENTERPRISE = {"attribute": "plan", "operator": "in", "values": ["enterprise"]}

#: Their primary keys are given: with new_checkout they are in the buckets 2, 51 and 33.
USERS: dict[str, dict[str, Any]] = {
    "alice": {"pk": 1},
    "bob": {"pk": 2},
    "carol": {"pk": 3},
}
#: Superusers, as whom tests log in.
OPERATORS: dict[str, dict[str, Any]] = {
    "ana": {"pk": 11, "is_staff": True, "is_superuser": True},
    "ben": {"pk": 12, "is_staff": True, "is_superuser": True},
}
#: The names of the groups, and the members.
GROUPS = {"beta": ["carol"]}
ALLOWED = {"beta_reviews": ["alice", "bob"], "new_checkout": ["alice"]}
FLAGS: dict[str, dict[str, Any]] = {
    "beta_reviews": {
        "kind": "permission",
        "description": "Reviews before everybody sees them",
    },
    "dark_mode": {"rollout_percent": 100},
    "new_checkout": {"rollout_percent": 25, "description": "One page instead of three"},
    "search_v2": {"kind": "ops"},
    "summer_banner": {"enabled": False, "rollout_percent": 100},
}
#: Flags of other states, which the documentation does not show.
OTHER_FLAGS: dict[str, dict[str, Any]] = {
    "express_delivery": {"rules": [{"name": "near", "conditions": [GERMAN]}]},
    "invoices": {"rules": [{"name": "large", "conditions": [{"segment": "enterprise"}]}]},
    "staff_tools": {"rules": [{"conditions": [STAFF]}]},
    "visitor_banner": {"rollout_percent": 50, "bucket_by": "visitor"},
}
VALUES: dict[str, dict[str, Any]] = {
    "payment_gateway": {"value": "stripe", "description": "Who takes the money"},
    "page_size": {"value": 20},
    "mail_password": {"value": "hunter2", "secret": True},
}
OTHER_VALUES: dict[str, dict[str, Any]] = {
    "delivery_fee": {"value": 5, "type": "integer"},
    "parcel_service": {"value": "DHL", "type": "string", "choices": ["DHL", "UPS"]},
    "staff_limit": {"value": 10, "rules": [{"conditions": [STAFF], "value": 50}]},
}
SEGMENTS: dict[str, dict[str, Any]] = {
    "enterprise": {"conditions": [ENTERPRISE], "description": "Customers with a contract"},
}
OTHER_SEGMENTS: dict[str, dict[str, Any]] = {
    "german": {"conditions": [GERMAN]},
    "staff": {"conditions": [STAFF]},
}

#: How a plan comes to a state, after its creation.
_PLAN_STATES: dict[str, tuple[Callable[[str], object], ...]] = {
    "pending": (),
    "running": (plans.start,),
    "paused": (plans.start, plans.pause),
    "rolled_back": (plans.start, plans.rollback),
}
#: How an experiment comes to a state, after its creation.
_EXPERIMENT_STATES: dict[str, tuple[Callable[[str], object], ...]] = {
    "draft": (),
    "running": (experiments.start,),
    "stopped": (experiments.start, experiments.stop),
    "shipped": (experiments.start, lambda key: experiments.ship(key, "treatment")),
}


class Shop:
    """The rows of a test."""

    def user(self, name: str, **fields: Any) -> User:
        """Returns a user. The fields are those of a user who is created now."""
        return _row(User, {"username": name}, {**USERS, **OPERATORS}.get(name, {}), fields)

    def group(self, name: str) -> Group:
        """Returns a group with its members."""
        group, is_new = Group.objects.get_or_create(name=name)
        if is_new:
            group.user_set.set([self.user(member) for member in GROUPS.get(name, [])])
        return group

    def client(self, name: str = "ana", *permissions: str, **fields: Any) -> Client:
        """Returns a browser where a user is logged in, a member of staff with these permissions.

        The user is one of those whom pages count.
        """
        is_new = not User.objects.filter(username=name).exists()
        user = self.user(name, **({"is_staff": True, **fields} if is_new else fields))
        for permission in permissions:
            user.user_permissions.add(Permission.objects.get(codename=permission))
        client = Client()
        client.force_login(user)
        return client

    def flag(self, key: str = "new_checkout", **fields: Any) -> FeatureFlag:
        """Returns a flag as it is stored. The fields are those of a flag that is created now."""
        named = {**FLAGS, **OTHER_FLAGS}.get(key)
        is_new = not FeatureFlag.objects.filter(key=key).exists()
        for segment in _segments_of(named.get("rules", []) if is_new and named else []):
            self.segment(segment)
        flag = _row(FeatureFlag, {"key": key}, named, fields, {"enabled": True})
        if is_new and key in ALLOWED:
            flag.allowed_users.set([self.user(name) for name in ALLOWED[key]])
        return flag

    def value(self, key: str = "payment_gateway", **fields: Any) -> KeyValueStore:
        """Returns a value as it is stored. The fields are those of one that is created now."""
        return _row(KeyValueStore, {"key": key}, {**VALUES, **OTHER_VALUES}.get(key), fields)

    def segment(self, key: str = "enterprise", **fields: Any) -> Segment:
        """Returns a segment as it is stored. The fields are those of one that is created now."""
        return _row(Segment, {"key": key}, {**SEGMENTS, **OTHER_SEGMENTS}.get(key), fields)

    def plan(self, key: str = "search_v2", state: str = "running", **options: Any) -> Plan:
        """Returns the newest plan of a flag, which is created in this state if there is none.

        The states are pending, running, paused and rolled_back; the options are those of
        `plans.create`.
        """
        if not Plan.objects.filter(key=key).exists():
            drive_recently()
            self.flag(key)
            plans.create(key, **{"steps": STEPS, **options})
            for action in _PLAN_STATES[state]:
                action(key)
        return Plan.objects.filter(key=key).latest("id")

    def experiment(
        self, key: str = EXPERIMENT, state: str = "running", *, exposed: int = 0, **fields: Any
    ) -> Experiment:
        """Returns an experiment, which is created in this state if there is none.

        The states are draft, running, stopped and shipped. So many units were exposed to each
        variant before the last of them; a tenth of these in control had the metric `orders`, and
        an eighth in treatment. The fields are those of `experiments.create`.
        """
        if not Experiment.objects.filter(key=key).exists():
            experiments.create(key, **fields)
            for action in _EXPERIMENT_STATES[state]:
                action(key)
                if action is experiments.start and exposed:
                    running = Experiment.objects.get(key=key)
                    expose_both(running, (exposed, exposed // 10), (exposed, exposed // 8))
        return Experiment.objects.get(key=key)

    def waiting(self, line: str = "on summer_banner", actor: str = "ana") -> WaitingAction:
        """Returns an action that waits for tomorrow, or as `--at` and `--request` in its line."""
        return ask(line, actor)

    def open(self) -> None:
        """Creates all that the documentation shows, in a second of the year 2026, and its usage.

        The usage is created if the database has it and the test rolls it back.
        """
        if connection.vendor == "postgresql" and connection.in_atomic_block:
            repeat(_create_rows_and_usage)
        else:
            _create_rows()


def _row(
    model: type[Row],
    name: dict[str, str],
    named: dict[str, Any] | None,
    fields: dict[str, Any],
    defaults: dict[str, Any] | None = None,
) -> Row:
    """Returns the row of a name, which is created with the fields of the shop and of the test."""
    row = model._default_manager.filter(**name).first()
    if row is None:
        assert named is not None or fields, f"the shop has no {name}: give its fields"
        created = {**name, **(defaults or {}), **(named or {}), **fields}
        return model._default_manager.create(**created)
    present = {field: getattr(row, field) for field in fields}
    assert present == fields, f"{name} exists, with {present}"
    return row


def _keyed(rows: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"pk": pk, "key": key, **rows[key]} for pk, key in enumerate(rows, 1)]


def _segments_of(rules: list[dict[str, Any]]) -> set[str]:
    conditions = [condition for rule in rules for condition in rule["conditions"]]
    return {condition["segment"] for condition in conditions if "segment" in condition}


def _create_rows() -> None:
    with patch("django.utils.timezone.now", return_value=OPENED):
        User.objects.bulk_create(
            # The patch does not reach its default.
            User(username=name, date_joined=OPENED, **USERS[name])
            for name in ("alice", "bob")
        )
        FeatureFlag.objects.bulk_create(
            FeatureFlag(**{"enabled": True, **row}) for row in _keyed(FLAGS)
        )
        KeyValueStore.objects.bulk_create(KeyValueStore(**row) for row in _keyed(VALUES))
        Segment.objects.bulk_create(Segment(**row) for row in _keyed(SEGMENTS))
    for key, names in ALLOWED.items():
        users = [USERS[name]["pk"] for name in names]
        FeatureFlag.objects.get(key=key).allowed_users.add(*users)


def _create_rows_and_usage() -> None:
    _create_rows()
    delete_usage()
    for key, result, count in (
        ("dark_mode", "true", 48_210),
        ("new_checkout", "true", 301),
        ("new_checkout", "false", 934),
        ("new_chekout", "unknown", 17),
        ("", "report", 0),
    ):
        add_usage(key, result, count, OPENED)
