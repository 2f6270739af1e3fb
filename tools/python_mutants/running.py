"""Runs the tests of mutants: two processes, each with its own server and its own copy."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

from tools.postgres import Postgres
from tools.python_mutants.comparing import report
from tools.python_mutants.record import Record
from tools.python_mutants.sampling import Mutant, draw

__all__ = ["record", "run"]

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "flagstaff"
PROCESSES = 2
# Seconds of the tests of one mutant, as recorded.
LIMIT = 120.0
# A mutant may make each test slower, but not hang.
PATIENCE = 180.0

_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+?::\S+)", re.MULTILINE)


def record(tests: Path, folder: Path, paths: list[str]) -> int:
    """Runs a suite with coverage, and returns pytest's exit status."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    own_server = next(tests.glob("tests/**/own_server.py")).relative_to(tests)
    plugin = ".".join(own_server.with_suffix("").parts)
    command = [*_pytest(), "-p", plugin, "-p", "tools.python_mutants.plugin", "--dist=loadfile"]
    command += ["--tx", f"{PROCESSES}*popen//python={sys.executable}", *paths]
    variables = {"RECORD": str(folder), "COVERAGE_OF": str(PACKAGE)}
    environment = _environment(PACKAGE.parent) | variables
    return subprocess.run(command, cwd=tests, env=environment, check=False).returncode


def run(tests: Path, recorded: Path, results: Path, seed: str, lines: int) -> None:
    """Tests the mutants of a seed, writes their results as JSON, and prints a report."""
    known, mutants = Record(recorded, PACKAGE), draw(PACKAGE, seed, lines)
    found: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        free: SimpleQueue[Sandbox] = SimpleQueue()
        with ThreadPoolExecutor(PROCESSES) as pool, _sandboxes(tests, Path(folder), free):
            for result in pool.map(lambda mutant: _test(mutant, known, free), mutants):
                found.append(result)
                print(
                    f"{len(found)}/{len(mutants)} {result['result']}: {result['name']}", flush=True
                )
                results.write_text(json.dumps(found, indent=1))
    print(report(found))


class Sandbox:
    """A copy of the package to mutate, and a server to run its tests on."""

    def __init__(self, tests: Path, folder: Path, server: Postgres) -> None:
        self.tests, self.folder, self.server = tests, folder, server
        shutil.copytree(PACKAGE, folder / "flagstaff")

    def result_of(self, mutant: Mutant, tests: list[str]) -> dict[str, Any]:
        """Runs the tests on the mutant, and returns its result and the test that failed."""
        file = self.folder / "flagstaff" / mutant.file
        source = file.read_bytes()
        file.write_bytes(mutant.mutation.apply(source))
        try:
            return self._run(tests)
        finally:
            file.write_bytes(source)

    def _run(self, tests: list[str]) -> dict[str, Any]:
        listed = self.folder / "tests"
        listed.write_text("\n".join(tests))
        command = [*_pytest(), "-p", "no:randomly", "-x", "--create-db", f"@{listed}"]
        environment = _environment(self.folder) | {"DATABASE_URL": self.server.url}
        try:
            ended = subprocess.run(
                command,
                cwd=self.tests,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=LIMIT + PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"result": "hung", "by": []}
        result = "caught" if ended.returncode else "survived"
        return {"result": result, "by": _FAILED.findall(ended.stdout)[:1]}


@contextmanager
def _sandboxes(tests: Path, folder: Path, free: SimpleQueue[Sandbox]) -> Iterator[None]:
    servers = [Postgres() for _ in range(PROCESSES)]
    try:
        for number, server in enumerate(servers):
            server.start()
            free.put(Sandbox(tests, folder / str(number), server))
        yield
    finally:
        for server in servers:
            server.close()


def _test(mutant: Mutant, known: Record, free: SimpleQueue[Sandbox]) -> dict[str, Any]:
    tests = known.tests_of(mutant.file, mutant.mutation.line, LIMIT)
    described = {"name": mutant.name, "room": mutant.room}
    if not tests:
        return described | {"result": "not reached", "by": []}
    sandbox = free.get()
    try:
        return described | sandbox.result_of(mutant, tests)
    finally:
        free.put(sandbox)


def _pytest() -> list[str]:
    return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no"]


def _environment(package: Path) -> dict[str, str]:
    """The package is read before the installed one, and the plugin from this checkout."""
    unwanted = {"DATABASE_URL", "PYTHONPATH", "PYTEST_ADDOPTS"}
    inherited = {name: value for name, value in os.environ.items() if name not in unwanted}
    return inherited | {"PYTHONPATH": f"{package}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
