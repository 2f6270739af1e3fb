"""Many engines in one process, to load a server as many workers do."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from functools import cache
from typing import Any, final

from django.db import connections
from psycopg.conninfo import conninfo_to_dict

from flagstaff._tables.database import names
from tests.support.python_processes import ROOT
from tools.limits import seconds


@cache
def _program(profile: str) -> str:
    """Builds `engines.rs` with the features of the crate's tests, and returns its path."""
    assert shutil.which("cargo"), "cargo is missing; install Rust, see CONTRIBUTING.md"
    build = ["cargo", "build", "--quiet", "--no-default-features", "--features", "postgres"]
    build += ["--profile", profile]
    built = subprocess.run(
        [*build, "--example", "engines", "--message-format", "json-render-diagnostics"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    [program] = [executable for message in messages if (executable := message.get("executable"))]
    return str(program)


@final
class Engines:
    """A process with `count` engines at the database at `url`.

    As a context manager it ends them.
    """

    def __init__(self, url: str, count: int = 0, *, profile: str = "quick") -> None:
        self._url = url
        self._process = subprocess.Popen(
            [_program(profile)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if count:
            self.start(count)

    def __enter__(self) -> Engines:
        return self

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        with self._process:
            if error is not None:
                self._process.kill()
            else:
                self._request("stop")

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, count: int, *, poll_interval: float = 5.0, listen: bool = True) -> None:
        """Starts more engines."""
        parameters = {name: str(value) for name, value in conninfo_to_dict(self._url).items()}
        start = {
            "count": count,
            "parameters": parameters,
            "names": names(connections["default"]),
            "poll_interval": poll_interval,
            "listen": listen,
        }
        self._request({"start": start})

    def reports(self) -> list[dict[str, Any]]:
        """Returns the state of each engine."""
        return list(self._request("report")["reports"])

    def until(self, *, within: float, **condition: Any) -> list[float]:
        """Waits for a condition in each engine; returns the sorted Unix times when it held.

        The condition has `modes`, one of which each engine must be in; `percent`, the rollouts by
        key; and `known_since`, a time since which the snapshot must have equalled the database.
        `within` is in seconds of a quiet machine.
        """
        until = {"condition": condition, "within": seconds(within)}
        times = self._request({"until": until})["times"]
        late = times.count(None)
        assert not late, f"{late} of {len(times)} engines do not meet it: {self.reports()}"
        return sorted(times)

    def are_live(self, *, within: float) -> float:
        """Waits until all engines are live and up to date; returns the seconds that it took."""
        started = time.time()
        times = self.until(modes=["live"], known_since=started, within=within)
        return times[-1] - started

    def _request(self, command: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the engines have ended: {self._process.wait()}"
        return json.loads(line)
