"""Many engines in one process: what they do to a server together."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from functools import cache
from typing import Any, final

from django.db import connections
from psycopg.conninfo import conninfo_to_dict

from flagstaff._tables.names import names
from tests.workers import ROOT

__all__ = ["Engines"]


@cache
def _program() -> str:
    """The compiled other side, in the same build as the tests of the crate."""
    assert shutil.which("cargo"), "cargo is missing; install Rust, see CONTRIBUTING.md"
    build = ["cargo", "build", "--quiet", "--no-default-features", "--features", "postgres"]
    built = subprocess.run(
        [*build, "--example", "engines", "--message-format", "json-render-diagnostics"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    [program] = [found for message in messages if (found := message.get("executable"))]
    return str(program)


@final
class Engines:
    """So many engines at the database at `url`, as that many workers would have.

    As a context manager it ends them.
    """

    def __init__(self, url: str, count: int = 0) -> None:
        self._url = url
        self._process = subprocess.Popen(
            [_program()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
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
                self._ask("stop")

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, count: int, *, poll_interval: float = 5.0, listen: bool = True) -> None:
        """Start so many more."""
        settings = {name: str(value) for name, value in conninfo_to_dict(self._url).items()}
        start = {
            "count": count,
            "settings": settings,
            "names": names(connections["default"]),
            "poll_interval": poll_interval,
            "listen": listen,
        }
        self._ask({"start": start})

    def reports(self) -> list[dict[str, Any]]:
        """What each of them has to say."""
        return list(self._ask("report")["reports"])

    def until(self, *, within: float, **condition: Any) -> list[float]:
        """When it came to hold for each of them, in order, by `time.time`.

        The condition is made of `modes`, one of which each engine must be in; `percent`, the
        rollout by key; and `known_since`, when each must have compared with the database.
        """
        self.tell({"until": {"condition": condition, "within": within}})
        return self.times()

    def tell(self, command: Any) -> None:
        """Give a command, and do not wait for its answer."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def times(self) -> list[float]:
        """The answer to an `until` that was told."""
        times = self._hear()["times"]
        late = times.count(None)
        assert not late, f"{late} of {len(times)} have not come to it: {self.reports()}"
        return sorted(times)

    def are_live(self, *, within: float) -> float:
        """Wait until all are live and have compared with the database since now; the seconds."""
        asked = time.time()
        times = self.until(modes=["live"], known_since=asked, within=within)
        return times[-1] - asked

    def _ask(self, command: Any) -> Any:
        self.tell(command)
        return self._hear()

    def _hear(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, f"the engines have ended: {self._process.wait()}"
        return json.loads(line)
