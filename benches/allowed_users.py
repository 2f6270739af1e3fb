"""A change of 100,000 allowed users, as a ratio to the same change without triggers.

    python -m benches.allowed_users   (beside a DATABASE_URL; `make bench` runs all)

Changes with and without triggers alternate, so that both run under the same load.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if __package__ != "benches":
    sys.path[:0] = [str(ROOT)]

from benches._project import set_up  # noqa: E402 (the path comes first)
from tools.token_triggers import always  # noqa: E402

USERS, ROUNDS = 100_000, 3
USERS_SQL = """
INSERT INTO auth_user (username, password, first_name, last_name, email, is_superuser, is_staff,
    is_active, date_joined)
SELECT 'guest ' || n, '', '', '', '', false, false, true, now() FROM generate_series(1, %s) AS n
"""
ADD = """
INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, user_id)
SELECT f.id, u.id FROM flagstaff_featureflag AS f, auth_user AS u
WHERE f.key = 'everyone' AND u.username LIKE 'guest %%'
"""
REMOVE = "DELETE FROM flagstaff_featureflag_allowed_users"
TABLE = "flagstaff_featureflag_allowed_users"


def main() -> None:
    """Measures and prints."""
    set_up()
    from django.contrib.auth import get_user_model  # noqa: PLC0415 (after set-up)
    from django.db import connection  # noqa: PLC0415

    from flagstaff.models import Change, FeatureFlag  # noqa: PLC0415

    with connection.cursor() as cursor:
        cursor.execute(USERS_SQL, [USERS])
        cursor.execute("ANALYZE")
        allowed: Any = FeatureFlag.objects.get(key="everyone").allowed_users
        guests: Any = get_user_model().objects.filter(username__startswith="guest ")
        pks = list(guests.values_list("pk", flat=True))
        changes: dict[str, Callable[[], Any]] = {
            "SQL, add all": lambda: cursor.execute(ADD, []),
            "SQL, remove all": lambda: cursor.execute(REMOVE),
            "ORM, add all": lambda: allowed.set(pks),
            "ORM, remove all": allowed.clear,
        }
        taken: dict[tuple[str, str], list[float]] = {}
        before = Change.objects.count()
        for _ in range(ROUNDS):
            for state in ("DISABLE", "ENABLE"):
                cursor.execute(f"ALTER TABLE {TABLE} {state} TRIGGER USER")
                cursor.execute(f"VACUUM {TABLE}")
                for name, change in changes.items():
                    started = time.monotonic()
                    change()
                    taken.setdefault((name, state), []).append(time.monotonic() - started)
        entries = (Change.objects.count() - before) / ROUNDS / len(changes)
        # ENABLE has reset the token triggers to fire only in ordinary sessions.
        cursor.execute(always(TABLE))
    print(f"{USERS:,} allowed users: {entries:.1f} history entries per change")
    for name in changes:
        bare, with_triggers = (median(taken[name, state]) for state in ("DISABLE", "ENABLE"))
        print(
            f"  {name:16} {with_triggers:5.2f} s   without triggers {bare:5.2f} s   "
            f"ratio {with_triggers / bare:.2f}"
        )


if __name__ == "__main__":
    main()
