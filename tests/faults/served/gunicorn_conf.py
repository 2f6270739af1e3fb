"""gunicorn with OpenFeature: handlers are added in each worker, as the guide advises."""

import os

if os.environ.get("PATCH_FIRST"):
    from gevent import monkey

    monkey.patch_all()


def post_fork(server: object, worker: object) -> None:
    """Adds the handlers of a worker that has inherited the provider."""
    if os.environ.get("OPENFEATURE") == "before fork":
        # Not earlier: the SDK would start its threads in the parent.
        from tests.support.openfeature_events import add_handlers

        add_handlers()
