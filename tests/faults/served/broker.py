"""Celery with folders as its broker, so that no broker has to run."""

from pathlib import Path

from celery import Celery


def application(folder: Path) -> Celery:
    """A Celery application whose messages and results are files.

    Sent messages reach the queue when `deliver` is called.
    """
    for name in ("outbox", "queue", "control", "results"):
        (folder / name).mkdir(exist_ok=True)
    app = Celery("served", set_as_current=False)
    app.conf.update(
        broker_url="filesystem://localhost",
        broker_transport_options={
            "data_folder_in": str(folder / "queue"),
            "data_folder_out": str(folder / "outbox"),
            "control_folder": str(folder / "control"),
            "polling_interval": 0.01,
        },
        result_backend=f"file://{folder / 'results'}",
        # With a limit, this broker's worker takes the next tasks every two seconds only.
        worker_prefetch_multiplier=0,
    )
    return app


def deliver(folder: Path) -> None:
    """Moves sent messages into the queue. Otherwise a worker might read half-written files."""
    for message in (folder / "outbox").iterdir():
        message.rename(folder / "queue" / message.name)
