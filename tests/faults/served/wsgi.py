"""The WSGI application. With EVALUATE_AT_IMPORT it evaluates at import, as real ones may do."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.faults.served.settings")

application = get_wsgi_application()

if os.environ.get("EVALUATE_AT_IMPORT"):
    from flagstaff import flag_enabled, get_value

    get_value("gateway")
    flag_enabled("evaluated_at_import")
