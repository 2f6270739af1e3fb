"""How `make demo` serves the shop: several processes, so that there is something to keep equal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

wsgi_app = "shop.wsgi:application"
chdir = str(Path(__file__).resolve().parent)
bind = f"127.0.0.1:{os.environ.get('PORT', '8000')}"

workers = int(os.environ.get("WORKERS", "4"))
worker_class = "gthread"
threads = 16  # an open crowd page holds one thread in every worker
preload_app = False

# No connection is used twice, so each request meets whichever worker is free.
keepalive = 0
# A spare connection that a browser has opened and not used must not hold up Ctrl-C for long.
graceful_timeout = 2

loglevel = "warning"
control_socket_disable = True


def post_fork(server: Any, worker: Any) -> None:
    """Tells the crowd page how many workers it has to find."""
    os.environ["WORKERS"] = str(server.num_workers)


def post_worker_init(worker: Any) -> None:
    """Lets the crowd page's endless answers end when their worker is told to stop."""
    from crowd import stream

    stream.serving = lambda: bool(worker.alive)
