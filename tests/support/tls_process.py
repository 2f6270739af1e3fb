"""The process of test_tls.py and test_logins.py: connects with the engine and with libpq.

The argument is a list of connection parameters. The output is a list of the errors of the engine
and of libpq; None if they connected.
"""

import json
import sys
import time

import django
import psycopg
from django.db import connections

django.setup()

from flagstaff import _core  # noqa: E402
from flagstaff._engine import lifecycle as engine_options  # noqa: E402
from flagstaff._engine.lifecycle import EngineOptions  # noqa: E402
from flagstaff._tables.database import names  # noqa: E402

# The database is empty, so this error proves that the connection works.
CONNECTED = "a table or column is missing"


def engine(parameters: dict[str, str]) -> str | None:
    options = EngineOptions(
        parameters=parameters,
        names=names(connections["default"]),
        listen=False,
        poll_interval=5.0,
        pool_size=1,
        pool_idle=0.0,
        max_staleness=300.0,
        usage_interval=0.0,
        measure_interval=5.0,
        new_visitors_per_hour=9,
        host="web",
        release="",
    )
    engine_options.engine_options = lambda: options
    try:
        _core.start(in_memory=True, wait=False)
        while not (report := _core.status_report())["last_error"]:
            time.sleep(0.001)
    except Exception as error:  # noqa: BLE001 (the error is the result)
        return str(error)
    else:
        return connection_error(str(report["last_error"]))
    finally:
        _core.stop(5)


def connection_error(error: str) -> str | None:
    return None if CONNECTED in error else error


def libpq(parameters: dict[str, str]) -> str | None:
    try:
        psycopg.connect("", **parameters).close()  # type: ignore[arg-type]
    except psycopg.OperationalError as error:
        return str(error)
    return None


def main() -> None:
    cases = json.loads(sys.argv[1])
    print(json.dumps([[engine(case), libpq(case)] for case in cases]))  # noqa: T201


if __name__ == "__main__":
    main()
