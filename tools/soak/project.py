"""The project of the workers: Django's users, and flags.

python -m tools.soak.project PORT PASSFILE     migrates its database
"""

from __future__ import annotations

import logging
import sys

import django
from django.conf import settings
from django.core.management import call_command

from tools.ports import LOOPBACK

DATABASE = ROLE = "shop"
POLL_INTERVAL = 5.0


def set_up(port: str, passfile: str) -> None:
    """Sets up Django. The password is in a file, which is read at each login."""
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": DATABASE,
                "USER": ROLE,
                "HOST": LOOPBACK,
                "PORT": port,
                "OPTIONS": {"passfile": passfile},
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        FLAGSTAFF={"POLL_INTERVAL": POLL_INTERVAL},
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "flagstaff"],
        USE_TZ=True,
    )
    django.setup()
    # Faults are expected here, so do not log them.
    logging.getLogger("flagstaff").addHandler(logging.NullHandler())
    logging.getLogger("flagstaff").propagate = False


if __name__ == "__main__":
    set_up(*sys.argv[1:3])
    call_command("migrate", verbosity=0)
