"""A kill waits for no lock of a command that counts users or asks about the same flags."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from flagstaff import changes
from flagstaff.changes import impact
from flagstaff.models import FeatureFlag, Segment
from tests.support.plans import drive_recently
from tests.support.terminals import asked, run

pytestmark = pytest.mark.django_db(transaction=True)

KEYS = [f"flag_{number:02}" for number in range(60)]
ENDS = KEYS[0], KEYS[-1]
PAYING = [{"attribute": "plan", "operator": "in", "values": ["paid"]}]
EVERYBODY = [{"attribute": "is_authenticated", "operator": "in", "values": [True]}]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags for nobody, with a file that gives them to users, and a change that can be undone."""
    monkeypatch.chdir(tmp_path)
    User.objects.create(username="alice")
    Segment.objects.create(key="team", conditions=PAYING)
    rules = [{"name": "team", "conditions": [{"segment": "team"}], "rollout_percent": 100}]
    FeatureFlag.objects.bulk_create(
        FeatureFlag(key=key, enabled=True, rollout_percent=100, rules=rules) for key in KEYS
    )
    FeatureFlag.objects.update(rollout_percent=0)
    run("export --file flags.json")
    file = Path("flags.json")
    file.write_text(file.read_text().replace('"rollout_percent": 0', '"rollout_percent": 100'))
    Path("conditions.json").write_text(json.dumps(EVERYBODY))
    drive_recently()


def kill() -> None:
    """Kills the first and the last flag from another connection. A lock is an error."""

    def disable() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '50ms'")
            for key in ENDS:
                changes.flags.disable(key)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(disable).result()


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (f"rollout {' '.join(KEYS)} 50", 4),
        # What uses the segment has changed.
        ("segment conditions team conditions.json", 4),
        (f"undo {KEYS[0]}", 4),
        ("undo-since 1h", 4),
        ("import flags.json", 4),
        (f"plan start {KEYS[0]} --step 50:1h --step 100", 4),
    ],
)
def test_kill_is_not_delayed_while_users_are_counted_or_a_question_waits(
    line: str, status: int, folder: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []

    def count(*arguments: Any) -> None:
        counts.append(arguments)
        kill()
        counted(*arguments)

    def answer() -> str:
        kill()
        return "y"

    counted = impact._count
    monkeypatch.setattr(impact, "_count", count)
    assert asked(line, answer).status == status
    assert counts
    assert not FeatureFlag.objects.filter(key__in=ENDS, enabled=True).exists()
