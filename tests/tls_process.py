"""What `tests/postgres/test_tls.py` runs: ways to connect, tried by the engine and by libpq.

The argument is a list of settings to connect with. The answer is a list of what was said of them by
the engine's link, by its pool, and by libpq: None where they connected.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import django
import psycopg
from django.db import connections

django.setup()

from flagstaff import _core  # noqa: E402
from flagstaff._tables.names import names  # noqa: E402
from flagstaff.exceptions import ConfigurationError, RefreshError  # noqa: E402

# The database is empty: who gets as far as this has connected.
CONNECTED = "a table or column is missing"
# No attempt came to an end before the limit.
LATE = "the server did not answer in time"
LONGEST = 5.0


def engine(settings: dict[str, str]) -> list[str | None]:
    rest: dict[str, Any] = {
        "opaque_values": False,
        "listen": False,
        "poll_interval": 5.0,
        "pool_size": 1,
    }
    rest |= {"max_staleness": 300.0, "usage_interval": 0.0, "host": "web"}
    try:
        _core.start(settings, names(connections["default"]), **rest)
        while not (report := _core.report())["last_error"]:
            time.sleep(0.001)
    except Exception as error:  # noqa: BLE001 - what it says is what is asked for
        return [str(error), str(error)]
    else:
        return [told(str(report["last_error"])), over_pool()]
    finally:
        _core.stop(5)


def over_pool() -> str | None:
    # A pool that cannot connect tries again until the limit, so the limit is short. A busy machine
    # may need longer for one attempt: only then the limit is raised.
    limit = 0.15
    while True:
        try:
            _core.refresh(limit)
        except RefreshError as error:
            if LATE in str(error) and limit < LONGEST:
                limit *= 4
                continue
            return told(str(error))
        except ConfigurationError as error:
            return str(error)
        return None


def told(error: str) -> str | None:
    return None if CONNECTED in error else error


def libpq(settings: dict[str, str]) -> str | None:
    try:
        psycopg.connect("", **settings).close()  # type: ignore[arg-type]
    except psycopg.OperationalError as error:
        return str(error)
    return None


def main() -> None:
    cases = json.loads(sys.argv[1])
    print(json.dumps([[*engine(case), libpq(case)] for case in cases]))  # noqa: T201


if __name__ == "__main__":
    main()
