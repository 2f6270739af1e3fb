"""The smoke test of an installed wheel; `check_wheel` runs this.

The argument is a database in the form of Django's DATABASES, as JSON.
"""

from __future__ import annotations

import json
import sys
from io import StringIO

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection


def main() -> int:
    """Migrates, evaluates flags, and cleans up."""
    settings.configure(
        DATABASES={"default": json.loads(sys.argv[1])},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "flagstaff"],
        USE_TZ=True,
    )
    django.setup()
    # Not under a test runner, so it evaluates like a worker. This call runs the migrations.
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        evaluate()
    finally:
        from flagstaff._engine.lifecycle import close  # noqa: PLC0415 (not before the settings)

        close()
        connection.creation.destroy_test_db(settings.DATABASES["default"]["NAME"], verbosity=0)
    return 0


def evaluate() -> None:
    """Evaluates before and after a change, and runs the commands and the checks."""
    from flagstaff import flag_enabled, get_value, refresh, status  # noqa: PLC0415
    from flagstaff.models import FeatureFlag, KeyValueStore  # noqa: PLC0415

    expect(flag_enabled("new_checkout", 42), expected=False)
    FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=34)
    KeyValueStore.objects.create(key="gateway", value="paypal")
    on_postgres = connection.vendor == "postgresql"
    if on_postgres:
        refresh()
    # 42 has the bucket 33.
    expect(flag_enabled("new_checkout", 42), expected=True)
    expect(get_value("gateway"), expected="paypal")
    expect(status().mode, expected="live" if on_postgres else "direct")
    call_command("check", databases=["default"], fail_level="WARNING", stdout=StringIO())
    call_command("flags", "off", "new_checkout", stdout=StringIO(), stderr=StringIO())
    if on_postgres:
        refresh()
    expect(flag_enabled("new_checkout", 42), expected=False)
    python = ".".join(map(str, sys.version_info[:2]))
    print(f"  Python {python}, Django {django.__version__}, {connection.vendor}: works")


def expect(result: object, *, expected: object) -> None:
    """Exits with an error if they differ, also under `python -O`."""
    if result != expected:
        sys.exit(f"{result!r} is not {expected!r}")


if __name__ == "__main__":
    sys.exit(main())
