"""A worker of one release: reads commands, and writes a line with each result.

It uses public names only, because the package that it imports is that of either release.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from io import StringIO
from typing import Any

import django
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection

_logged: list[str] = []


class _ListHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _logged.append(f"{record.levelname} {record.getMessage()}")


settings.configure(
    DATABASES={"default": json.loads(os.environ["DATABASE"])},
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "flagstaff",
        "flagstaff.rollouts",
        "flagstaff.experiments",
        "flagstaff.contrib.webhooks",
    ],
    FLAGSTAFF=json.loads(os.environ["FLAGSTAFF"]),
    TIME_ZONE="UTC",
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
)
logging.getLogger("flagstaff").addHandler(_ListHandler(logging.WARNING))
django.setup()

# After the settings.
from django.contrib.auth.models import Group, User  # noqa: E402

import flagstaff  # noqa: E402
from flagstaff import changes, experiments, rollouts  # noqa: E402
from flagstaff.models import FeatureFlag, KeyValueStore, Segment  # noqa: E402


def results(flags: list[str], values: list[str], variants: list[str]) -> list[Any]:
    """What each user gets of each key: of flags, of values and of experiments."""
    users = [*User.objects.order_by("pk")]
    return [
        {key: [flagstaff.flag_enabled(key, user) for user in users] for key in flags},
        {key: [flagstaff.get_value(key, user=user) for user in users] for key in values},
        {key: [experiments.get_variant(key, user) for user in users] for key in variants},
    ]


def command(*arguments: str) -> list[Any]:
    """Runs `manage.py flags`, and returns the exit status and the errors."""
    errors = StringIO()
    try:
        call_command("flags", *arguments, stdout=StringIO(), stderr=errors)
    except CommandError as error:
        return [error.returncode, f"{errors.getvalue()}{error}"]
    return [0, errors.getvalue()]


def _row(key: str) -> Any:
    return FeatureFlag.objects.filter(key=key)


def _save(key: str, **fields: Any) -> None:
    row = _row(key).get()
    for name, value in fields.items():
        setattr(row, name, value)
    row.save()


def _kill(key: str, _none: None) -> None:
    status, errors = command("kill", key, "--no-wait")
    assert status == 0, errors


# How a change is written: by the package, and by the ORM.
BY_CODE: dict[str, Callable[[str, Any], object]] = {
    "create": lambda key, fields: changes.flags.create(key, **fields),
    "delete": lambda key, _none: changes.flags.delete(key),
    "kill": _kill,
    "enable": lambda key, _none: changes.flags.enable(key),
    "rollout": changes.flags.set_rollout,
    "rules": lambda key, rules: changes.flags.update(key, {"rules": rules}),
    "allow": changes.flags.allow,
    "disallow": changes.flags.disallow,
    "value": changes.values.set,
    "conditions": lambda key, conditions: changes.segments.update(key, {"conditions": conditions}),
    "join": lambda name, pk: User.objects.get(pk=pk).groups.add(Group.objects.get(name=name)),
    "leave": lambda name, pk: User.objects.get(pk=pk).groups.remove(Group.objects.get(name=name)),
}
BY_ORM: dict[str, Callable[[str, Any], object]] = {
    "create": lambda key, fields: FeatureFlag.objects.create(key=key, **fields),
    "delete": lambda key, _none: _row(key).get().delete(),
    "kill": lambda key, _none: _save(key, enabled=False),
    "enable": lambda key, _none: _row(key).update(enabled=True),
    "rollout": lambda key, percent: _save(key, rollout_percent=percent),
    "rules": lambda key, rules: _row(key).update(rules=rules),
    "allow": lambda key, pk: _row(key).get().allowed_users.add(pk),
    "disallow": lambda key, pk: _row(key).get().allowed_users.remove(pk),
    "value": lambda key, value: KeyValueStore.objects.filter(key=key).update(value=value),
    "conditions": lambda key, conditions: Segment.objects.filter(key=key).update(
        conditions=conditions
    ),
    "join": lambda name, pk: Group.objects.get(name=name).user_set.add(pk),
    "leave": lambda name, pk: Group.objects.get(name=name).user_set.remove(pk),
}


def begin(users: int, groups: list[str], values: dict[str, Any], segments: dict[str, Any]) -> None:
    """Creates what the changes begin with."""
    User.objects.bulk_create(User(username=f"user {number}") for number in range(users))
    User.objects.filter(pk__lte=users // 2).update(is_staff=True)
    Group.objects.bulk_create(Group(name=name) for name in groups)
    for key, value in values.items():
        changes.values.create(key, value)
    for key, conditions in segments.items():
        changes.segments.create(key, conditions)
    experiments.create("button")
    experiments.start("button")
    for key in ("planned", "counted"):
        changes.flags.create(key, enabled=True)


def load(timeout: float) -> None:
    """Waits for a load, and forgets what was logged before it, with the line that says so."""
    flagstaff.refresh(timeout)
    deadline = time.monotonic() + timeout
    while flagstaff.status().mode != "live" or not all("again" in line for line in _logged[-1:]):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{flagstaff.status()}, {_logged}")
        # Evaluations write the log.
        flagstaff.get_value("limit")
        time.sleep(0.001)
    _logged.clear()


def count(key: str, times: int) -> int:
    """Evaluates a flag so many times, whose usage then has as many evaluations more."""
    return sum(flagstaff.flag_enabled(key, 1) for _ in range(times))


COMMANDS: dict[str, Callable[..., Any]] = {
    "migrate": lambda: call_command("migrate", verbosity=0),
    "package": lambda: flagstaff.__file__,
    "code": lambda name, key, argument: bool(BY_CODE[name](key, argument)),
    "orm": lambda name, key, argument: bool(BY_ORM[name](key, argument)),
    "wait": lambda timeout, expect: flagstaff.wait_for_workers(timeout, expect=expect).as_dict(),
    "ready": flagstaff.ready,
    "status": lambda: flagstaff.status().as_dict(),
    "logged": lambda: _logged,
    "start plan": lambda key, steps: rollouts.start(key, steps).state,
    "pause plan": lambda key: rollouts.pause(key).state,
    "resume plan": lambda key: rollouts.resume(key).state,
    "stop experiment": lambda key: experiments.stop(key).state,
    "undo experiment": lambda key: experiments.undo(key).state,
    **{function.__name__: function for function in (results, command, begin, load, count)},
}

if __name__ == "__main__":
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            done = {"result": COMMANDS[name](*arguments)}
        except Exception as error:  # noqa: BLE001 (reported to the test)
            done = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(done, default=str), flush=True)
    connection.close()
