"""The configuration for `make demo`: several processes, each with its own snapshot."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

wsgi_app = "shop.wsgi:application"
chdir = str(Path(__file__).resolve().parent)
bind = f"127.0.0.1:{os.environ.get('PORT', '8000')}"

workers = int(os.environ.get("WORKERS", "4"))
worker_class = "gthread"
threads = 16  # an open crowd page uses one thread in every worker
preload_app = False

# Each request opens a connection, so any free worker can serve it.
keepalive = 0
# An unused connection of a browser must not delay Ctrl-C.
graceful_timeout = 2

loglevel = "warning"
control_socket_disable = True


def post_fork(server: Any, worker: Any) -> None:
    """Passes the number of workers to the crowd page."""
    os.environ["WORKERS"] = str(server.num_workers)


def post_worker_init(worker: Any) -> None:
    """Ends the streams of the crowd page when their worker shuts down."""
    from crowd import stream

    stream.is_serving = lambda: bool(worker.alive)
