"""The ASGI application. Loads the flags first, and writes the last counts, as the guide advises."""

import os
from typing import Any

from django.core.asgi import get_asgi_application

from flagstaff import aclose, aready
from tools.limits import seconds

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.faults.served.settings")

_django = get_asgi_application()


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Handles the lifespan, which Django does not, and passes requests to Django."""
    if scope["type"] != "lifespan":
        await _django(scope, receive, send)
        return
    while (await receive())["type"] != "lifespan.shutdown":
        await aready(timeout=10)
        await send({"type": "lifespan.startup.complete"})
    await aclose(seconds(1))
    await send({"type": "lifespan.shutdown.complete"})
