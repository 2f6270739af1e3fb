"""Servers that are started and closed, and those that are a child process."""

from __future__ import annotations

import os
import signal
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

from typing_extensions import Self

from tools.lifeline import ends_with_parent
from tools.limits import seconds
from tools.postgres_account import server_account


class ServerError(RuntimeError):
    """A server failed."""


class Closing(ABC):
    """A context manager that starts a resource and closes it, also after a failed start."""

    @abstractmethod
    def start(self) -> None:
        """Starts the resource, and returns when it is ready."""

    @abstractmethod
    def close(self) -> None:
        """Releases everything."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Child(Closing):
    """A server that runs until it is stopped, and writes its output to `log`.

    It ends with the thread that started it.
    """

    #: The signal for an orderly shutdown.
    STOP_SIGNAL = signal.SIGTERM
    #: How long to wait for the shutdown, in seconds.
    TIMEOUT = 10.0

    def __init__(self, log: Path) -> None:
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; that of the postmaster or of the pooler."""
        if self._process is None:
            raise ServerError("the server is not running")
        return self._process.pid

    def stop(self) -> None:
        """Shuts it down in order, so that its clients get an error message."""
        self._end(self.STOP_SIGNAL)

    def restart(self) -> None:
        """Stops and starts it, on the same port."""
        self.stop()
        self.start()

    def _spawn(self, program: Path, *arguments: str) -> subprocess.Popen[bytes]:
        account = server_account()
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                # Without this process's PG* variables, and with messages in English.
                env={"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath},
                # Ctrl-C only reaches this process, which stops the server after its clients.
                start_new_session=True,
                user=account and account.pw_uid,
                group=account and account.pw_gid,
                extra_groups=account and [],
                preexec_fn=ends_with_parent(self.STOP_SIGNAL),  # noqa: PLW1509 (only calls prctl)
            )

    def _refuse_a_second_start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            raise ServerError(f"the server runs already, as process {self.pid}")

    def _end(self, by: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(by)
        try:
            self._process.wait(seconds(self.TIMEOUT))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _failure(self, what: str) -> ServerError:
        """Returns an error with the last lines of the log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return ServerError("\n".join([f"{what}:", *lines[-10:]]))
