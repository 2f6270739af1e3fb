"""The application of WSGI servers. With ASK_EARLY it asks while it is imported, as real ones do."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.faults.served.settings")

application = get_wsgi_application()

if os.environ.get("ASK_EARLY"):
    from flagstaff import flag_enabled, get_value

    get_value("gateway")
    flag_enabled("asked_early")
