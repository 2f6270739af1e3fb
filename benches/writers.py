"""What the triggers cost writers, as ratios to the same writes without triggers.

    python -m benches.writers         (beside a DATABASE_URL; `make bench` runs all)

The rate of eight clients, each of which writes its own flag and sleeps before the commit, so that
it does not measure the processors; and the time of a change of 100,000 allowed users. Runs with and
without triggers alternate.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from benches._project import (
    ADD_GUESTS,
    ALLOWED_USERS,
    disable_triggers,
    enable_triggers,
    execute,
    set_up,
)
from tools.postgres_binaries import programs

NEWEST, CLIENTS, SECONDS, ROUNDS = 18, 8, 2, 4
WRITE = r"""
BEGIN;
UPDATE flagstaff_featureflag SET enabled = NOT enabled WHERE key = 'flag_:client_id';
\sleep 10 ms
COMMIT;
"""
TABLES = ("flagstaff_featureflag", ALLOWED_USERS, "flagstaff_keyvaluestore")
USERS = 100_000
ADD = f"""
INSERT INTO {ALLOWED_USERS} (featureflag_id, user_id)
SELECT f.id, u.id FROM flagstaff_featureflag AS f, auth_user AS u
WHERE f.key = 'everyone' AND u.username LIKE 'guest %'
"""  # noqa: S608 (a constant)


def main() -> None:
    """Measures and prints."""
    set_up()
    execute(ADD_GUESTS, count=USERS)
    execute("VACUUM ANALYZE")
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(WRITE)
        script.flush()
        rates = _with_and_without_triggers(lambda: _transactions_per_second(script.name))
    print(f"{CLIENTS} writers, transactions/s{_compared(rates)}")
    for name, change in _changes_of_allowed_users().items():
        print(f"{USERS:,} allowed users by {name}, s{_compared(change)}")


def _compared(figures: dict[bool, list[float]]) -> str:
    bare, with_triggers = median(figures[False]), median(figures[True])
    ratio = with_triggers / bare
    return f": {with_triggers:.2f}   without triggers {bare:.2f}   ratio {ratio:.2f}"


def _with_and_without_triggers(measure: Callable[[], Any]) -> dict[bool, list[Any]]:
    """Returns what was measured without triggers (False) and with them (True)."""
    figures_by_state: dict[bool, list[Any]] = {False: [], True: []}
    for _ in range(ROUNDS):
        for has_triggers, figures in figures_by_state.items():
            for table in TABLES:
                (enable_triggers if has_triggers else disable_triggers)(table)
            figures.append(measure())
    return figures_by_state


def _changes_of_allowed_users() -> dict[str, dict[bool, list[float]]]:
    """Returns the seconds of each change, without and with triggers."""
    from django.contrib.auth import get_user_model

    from flagstaff.models import FeatureFlag

    allowed: Any = FeatureFlag.objects.get(key="everyone").allowed_users
    guests: Any = get_user_model().objects.filter(username__startswith="guest ")
    pks = list(guests.values_list("pk", flat=True))
    changes: dict[str, Callable[[], Any]] = {
        "SQL, add all": lambda: execute(ADD),
        "SQL, remove all": lambda: execute(f"DELETE FROM {ALLOWED_USERS}"),  # noqa: S608
        "the ORM, add all": lambda: allowed.set(pks),
        "the ORM, remove all": allowed.clear,
    }

    def measure() -> dict[str, float]:
        taken = {}
        execute(f"VACUUM {ALLOWED_USERS}")
        for name, change in changes.items():
            started = time.monotonic()
            change()
            taken[name] = time.monotonic() - started
        return taken

    figures = _with_and_without_triggers(measure)
    return {
        name: {
            state: [figures_of_round[name] for figures_of_round in rounds]
            for state, rounds in figures.items()
        }
        for name in changes
    }


def _transactions_per_second(script: str) -> float:
    """Returns what pgbench counts with this script."""
    options = ["--no-vacuum", f"--client={CLIENTS}", f"--time={SECONDS}", f"--file={script}"]
    ran = subprocess.run(
        [programs(NEWEST) / "pgbench", *options, os.environ["DATABASE_URL"]],
        capture_output=True,
        text=True,
        check=True,
    )
    match = re.search(r"tps = ([\d.]+)", ran.stdout)
    if not match:
        raise RuntimeError(ran.stdout)
    return float(match[1])


if __name__ == "__main__":
    main()
