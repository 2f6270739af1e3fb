"""Celery's prefork pool, and a client that runs tasks in it."""

from pathlib import Path
from typing import Any

from tests.faults.app_servers import CELERY, TIMEOUT, WORKERS, AppServer, served
from tests.faults.served.broker import application, deliver
from tools.limits import seconds


class Tasks:
    """A client that runs tasks in the pool."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._app = application(folder)

    def run(self, name: str, *arguments: Any, times: int = 1) -> list[Any]:
        """Runs a task some times, and returns the results."""
        tasks = [self._app.send_task(name, arguments) for _ in range(times)]
        deliver(self.folder)
        return [task.get(timeout=seconds(TIMEOUT), interval=0.01) for task in tasks]

    def read(self) -> list[dict[str, Any]]:
        """Runs two tasks per child, and returns what the children see."""
        return self.run("read", times=2 * WORKERS)


def celery(database: str, folder: Path, **variables: str) -> AppServer:
    return served(CELERY, database, CELERY_FOLDER=str(folder), **variables)
