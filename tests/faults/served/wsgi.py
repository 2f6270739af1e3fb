"""The WSGI application. Variables make it evaluate or set a provider at import."""

import os

from django.core.wsgi import get_wsgi_application

from tests.support.python_processes import end_patiently

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.faults.served.settings")

application = get_wsgi_application()
end_patiently()

if os.environ.get("EVALUATE_AT_IMPORT"):
    from flagstaff import flag_enabled, get_value

    get_value("gateway")
    flag_enabled("evaluated_at_import")

if os.environ.get("OPENFEATURE"):
    from tests.support.openfeature_events import add_handlers, set_provider

    set_provider(waits=os.environ["OPENFEATURE"] != "without waiting")
    if os.environ["OPENFEATURE"] == "in worker":
        add_handlers()
