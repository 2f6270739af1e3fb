"""The rate of eight writers, as a ratio to the same writers without triggers.

    python -m benches.writers         (beside a DATABASE_URL; `make bench` runs all)

Each client writes its own flag and sleeps before the commit, so that it does not measure the
processors. Runs with and without triggers alternate.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
if __package__ != "benches":
    sys.path[:0] = [str(ROOT)]

from benches._project import set_up  # noqa: E402 (the path comes first)
from tools.postgres_binaries import programs  # noqa: E402
from tools.token_triggers import always  # noqa: E402

NEWEST, CLIENTS, SECONDS, ROUNDS = 18, 8, 2, 4
WRITE = r"""
BEGIN;
UPDATE flagstaff_featureflag SET enabled = NOT enabled WHERE key = 'flag_:client_id';
\sleep 10 ms
COMMIT;
"""
TABLES = (
    "flagstaff_featureflag",
    "flagstaff_featureflag_allowed_users",
    "flagstaff_keyvaluestore",
)


def main() -> None:
    """Measures and prints."""
    set_up()
    from django.db import connection  # noqa: PLC0415 (after set-up)

    rates: dict[str, list[float]] = {"DISABLE": [], "ENABLE": []}
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script, connection.cursor() as cursor:
        script.write(WRITE)
        script.flush()
        for _ in range(ROUNDS):
            for state, found in rates.items():
                for table in TABLES:
                    cursor.execute(f"ALTER TABLE {table} {state} TRIGGER USER")
                found.append(transactions_per_second(script.name))
        for table in TABLES:
            # ENABLE has reset the token triggers to fire only in ordinary sessions.
            cursor.execute(always(table))
    bare, with_triggers = median(rates["DISABLE"]), median(rates["ENABLE"])
    print(
        f"{CLIENTS} writers: {with_triggers:.0f} transactions/s   without triggers {bare:.0f}   "
        f"ratio {with_triggers / bare:.2f}"
    )


def transactions_per_second(script: str) -> float:
    """Returns what pgbench counts with this script."""
    options = ["--no-vacuum", f"--client={CLIENTS}", f"--time={SECONDS}", f"--file={script}"]
    ran = subprocess.run(
        [programs(NEWEST) / "pgbench", *options, os.environ["DATABASE_URL"]],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"tps = ([\d.]+)", ran.stdout)
    if not found:
        raise RuntimeError(ran.stdout)
    return float(found[1])


if __name__ == "__main__":
    main()
