"""What the benchmarks share: a Django project with flags, values and users, and how they measure.

Imports of the package are inside of functions, because Django must be set up before.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

import django

from tools.token_triggers import always

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.support.settings")

ROOT = Path(__file__).resolve().parent.parent
#: A column of the user that rules read.
COLUMN = "last_name"
#: Flags with one rule each: on an attribute of the context, a column, a built-in attribute, and a
#: bucket that has all users.
RULES = {
    "rule_context": {"attribute": "country", "operator": "in", "values": ["DE", "AT", "CH"]},
    "rule_column": {"attribute": COLUMN, "operator": "in", "values": ["DE", "AT", "CH"]},
    "rule_staff": {"attribute": "is_staff", "operator": "in", "values": [True]},
    "rule_group": {"attribute": "groups", "operator": "in", "values": ["beta"]},
    "rule_bucket": {"bucket": "holdout", "operator": "lt", "values": [100]},
}
#: A flag at 50 % that another one needs.
NEEDED = "flag_7"
#: An experiment for everyone, by user.
EXPERIMENT = "split_1"
#: The members of the group.
MEMBERS = 100_000
ALLOWED_USERS = "flagstaff_featureflag_allowed_users"
#: Users without any right.
ADD_GUESTS = """
    INSERT INTO auth_user (username, password, first_name, last_name, email, is_superuser, is_staff,
        is_active, date_joined)
    SELECT 'guest ' || n, '', '', '', '', false, false, true, now()
    FROM generate_series(1, %(count)s) AS n
"""
_ADD_MEMBERS = """
    INSERT INTO auth_user (
        username, password, first_name, last_name, email, is_staff, is_superuser, is_active,
        date_joined
    )
    SELECT 'member ' || number, '', '', '', '', false, false, true, now()
    FROM generate_series(1, %(count)s) AS number;
    INSERT INTO auth_user_groups (user_id, group_id)
    SELECT auth_user.id, auth_group.id FROM auth_user, auth_group;
"""


def outside(key: str) -> Any:
    """Returns the first user outside a rollout of 50 %."""
    from django.contrib.auth import get_user_model

    def bucket(user: Any) -> int:
        return int(sha256(f"{key}:{user.pk}".encode()).hexdigest(), 16) % 100

    users: Any = get_user_model()
    return next(user for user in users.objects.order_by("pk") if bucket(user) >= 50)  # noqa: PLR2004


def start_django() -> None:
    """Sets up Django, with ATTRIBUTES."""
    django.setup()
    from django.conf import settings

    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": [COLUMN]}


def set_up() -> None:
    """Migrates the database of DATABASE_URL and fills it."""
    start_django()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    from flagstaff.models import FeatureFlag, KeyValueStore

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
    is_inside = users.objects.order_by("pk").first() != outside(NEEDED)
    needs = [{"conditions": [{"flag": NEEDED, "is": is_inside}]}]
    FeatureFlag.objects.create(key="rule_flag", enabled=True, rules=needs)
    FeatureFlag.objects.get(key="listed").allowed_users.add(outside("listed"))
    KeyValueStore.objects.create(key="gateway", value="stripe")
    for key in ("context", "staff"):
        rules = [{"conditions": [RULES[f"rule_{key}"]], "value": "paypal"}]
        KeyValueStore.objects.create(key=f"value_{key}", value="stripe", rules=rules)
    _start_experiments()


def _start_experiments() -> None:
    from flagstaff import experiments
    from flagstaff.experiments.models import Experiment

    Experiment.objects.all().delete()
    experiments.create(EXPERIMENT)
    experiments.start(EXPERIMENT)


def add_members(count: int = MEMBERS) -> None:
    """Adds all users and so many more to the group of a rule."""
    from django.contrib.auth.models import Group

    Group.objects.all().delete()
    Group.objects.create(name="beta")
    execute("DELETE FROM auth_user WHERE username LIKE 'member %'")
    execute(_ADD_MEMBERS, count=count)


def execute(*statements: str, **parameters: Any) -> Any:
    """Executes statements, and returns the first row of the last one, if it has rows."""
    from django.db import connection

    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement, parameters if "%(" in statement else None)
        return cursor.fetchone() if cursor.description else None


def add_flags(count: int) -> None:
    """Adds flags without rules, up to this number."""
    from flagstaff.models import FeatureFlag

    missing = range(FeatureFlag.objects.count(), count)
    FeatureFlag.objects.bulk_create(
        [FeatureFlag(key=f"feature_{n}", enabled=True, rollout_percent=50) for n in missing]
    )


def disable_triggers(table: str) -> None:
    """Lets changes of the table write neither history nor tokens."""
    execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")


def enable_triggers(table: str) -> None:
    """Ends `disable_triggers`."""
    # ENABLE alone resets the token triggers to fire only in ordinary sessions.
    execute(f"ALTER TABLE {table} ENABLE TRIGGER USER", always(table))


def client_of(user: Any, urls: type | None = None) -> Any:
    """Returns a test client with this user, over a persistent connection to the database."""
    from django.conf import settings
    from django.test import Client

    settings.DATABASES["default"]["CONN_MAX_AGE"] = None
    if urls is not None:
        settings.ROOT_URLCONF = urls
    client = Client()
    client.force_login(user)
    return client


def superuser() -> Any:
    """Creates a superuser."""
    from django.contrib.auth import get_user_model

    users: Any = get_user_model()
    return users.objects.create_superuser("bench")


def open_page(client: Any, url: str) -> None:
    """Opens a page, and fails if it has an error."""
    response = client.get(url, follow=True)
    if response.status_code != 200:  # noqa: PLR2004
        raise RuntimeError(f"{url} answered {response.status_code}")


def median_costs(
    actions: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    batch: int = 1,
    clock: Callable[[], int] = perf_counter_ns,
) -> dict[str, float]:
    """Returns the median nanoseconds of each action, after one batch that fills the caches.

    Small batches of all actions alternate, so that all run under the same load.
    """
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds + 1):
        for name, act in actions.items():
            start = clock()
            for _ in range(batch):
                act()
            taken[name].append((clock() - start) / batch)
    return {name: median(times[1:]) for name, times in taken.items()}


def run_bench(name: str, *arguments: str, **environment: str) -> str:
    """Runs a bench in a process of its own, and returns its output."""
    command = [sys.executable, "-m", f"benches.{name}", *arguments]
    ran = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return ran.stdout


def count_instructions(options: list[str], name: str, *arguments: str) -> list[int]:
    """Runs a bench under valgrind's callgrind, and returns what it counted on the main thread.

    There is a count for the time before each call of the core's `is_waiting`, and one for the rest.
    """
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "callgrind.out"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *options]
        command += ["--separate-threads=yes", "--dump-before=*__pyfunction_is_waiting*"]
        command += [sys.executable, "-m", f"benches.{name}", *arguments]
        environment = os.environ | {"PYTHONHASHSEED": "0"}
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stderr=subprocess.DEVNULL)
        counts = []
        # Their names end with the number of the count and that of the thread.
        files = Path(directory).glob(f"{out.name}.*-01")
        for file in sorted(files, key=lambda file: int(file.suffix[1:].partition("-")[0])):
            match = re.search(r"^(?:summary|totals): (\d+)", file.read_text(), re.MULTILINE)
            if match is None:
                raise RuntimeError("callgrind gave no count")
            counts.append(int(match[1]))
        return counts
