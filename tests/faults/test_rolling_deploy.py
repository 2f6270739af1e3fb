"""Workers of two releases at one database, as in a rolling deploy and after its rollback.

If this test fails after a change of the tables, the functions or the statements, old and new
workers do not work beside each other any more. Either the change is made so that they do, or
*Deploying a new version* in `docs/operations.md` says what a deploy has to do, and the test does
it. Until the first release the migrations are edited in place, so that no migration leads from the
old tables to the new ones: each set of tables is created from nothing, beneath workers of both.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from datetime import timezone
from os import environ
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple, final

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.conformance.rules_oracle import Flag, evaluate, hundredths
from tests.support.old_release import old_release
from tests.support.python_processes import ROOT
from tools.database_url import parse_database_url
from tools.limits import CHILD, SERVER, seconds

# The changes to both sets of tables together take a minute.
_SECONDS, _CHECKS = 30.0, 4
_RELEASES = ["old", "new"]
_USERS, _WORKERS_OF_EACH = 20, 2
_FLAGS = [f"flag_{number}" for number in range(8)]
_VALUES = {"limit": 10, "gateway": "stripe"}
_STAFF = [{"attribute": "is_staff", "operator": "in", "values": [True]}]
_CREW = [{"attribute": "groups", "operator": "in", "values": ["crew"]}]
_BETA = [{"attribute": "groups", "operator": "in", "values": ["beta"]}]
_SEGMENTS = {"insiders": _STAFF}
_GROUPS = ["beta", "crew"]
_RULES: list[list[dict[str, Any]]] = [
    [],
    [{"conditions": _BETA, "rollout_percent": 100}],
    [{"conditions": [{"segment": "insiders"}], "rollout_percent": 50}],
    [{"conditions": _STAFF, "rollout_percent": 0}, {"conditions": _CREW, "rollout_percent": 25}],
]
# How often each process evaluates a flag that nobody changes, whose usage is compared.
_COUNTED = 100

_FLAG_TABLE, _ALLOWED_TABLE = "flagstaff_featureflag", "flagstaff_featureflag_allowed_users"
_OF_KEY = f"(SELECT id FROM {_FLAG_TABLE} WHERE key = %(key)s)"
# How a change is written by SQL. A change of groups would be seen after a minute.
_SQL = {
    "create": f"INSERT INTO {_FLAG_TABLE} (key, enabled, rollout_percent) "
    "SELECT %(key)s, (new ->> 'enabled')::bool, (new ->> 'rollout_percent')::int "
    "FROM to_jsonb(%(new)s) AS new",
    "delete": f"DELETE FROM {_ALLOWED_TABLE} WHERE featureflag_id = {_OF_KEY};"
    f"DELETE FROM {_FLAG_TABLE} WHERE key = %(key)s",
    "kill": f"UPDATE {_FLAG_TABLE} SET enabled = false WHERE key = %(key)s",
    "enable": f"UPDATE {_FLAG_TABLE} SET enabled = true WHERE key = %(key)s",
    "rollout": f"UPDATE {_FLAG_TABLE} SET rollout_percent = %(new)s::jsonb::int "
    "WHERE key = %(key)s",
    "rules": f"UPDATE {_FLAG_TABLE} SET rules = %(new)s WHERE key = %(key)s",
    "allow": f"INSERT INTO {_ALLOWED_TABLE} (featureflag_id, user_id) "
    f"SELECT {_OF_KEY}, %(new)s::jsonb::int ON CONFLICT DO NOTHING",
    "disallow": f"DELETE FROM {_ALLOWED_TABLE} WHERE featureflag_id = {_OF_KEY} "
    "AND user_id = %(new)s::jsonb::int",
    "value": "UPDATE flagstaff_keyvaluestore SET value = %(new)s WHERE key = %(key)s",
    "conditions": "UPDATE flagstaff_segment SET conditions = %(new)s WHERE key = %(key)s",
}
_ROWS = f"""
    SELECT f.key, f.enabled, f.rollout_percent, f.rules,
        array(SELECT user_id FROM {_ALLOWED_TABLE} WHERE featureflag_id = f.id ORDER BY user_id)
    FROM {_FLAG_TABLE} AS f WHERE key LIKE 'flag%' ORDER BY key
"""
# The rows whose changes the history has, as it stores them.
_STORED = f"""
    SELECT 'f', id::text, to_jsonb(t) FROM {_FLAG_TABLE} AS t
    UNION ALL SELECT 'k', id::text, to_jsonb(t) FROM flagstaff_keyvaluestore AS t
    UNION ALL SELECT 's', id::text, to_jsonb(t) FROM flagstaff_segment AS t
    UNION ALL SELECT 'm', featureflag_id::text, jsonb_agg(user_id ORDER BY user_id)
    FROM {_ALLOWED_TABLE} GROUP BY featureflag_id
"""
# The evaluations of the flag that are known, and the units of the experiment.
_REPORTED = """
    SELECT
        (SELECT sum(count)::int FROM flagstaff_usage WHERE key = 'counted'),
        (SELECT count(*) FROM flagstaff_experiments_exposure)
"""
_ENTRIES = "SELECT relation::text, object_pk, old, new FROM flagstaff_change ORDER BY id"


class Step(NamedTuple):
    """One change, by its name in the tables of the three ways to write it."""

    name: str
    key: str
    new: Any = None


@final
class Release:
    """A process with the package of one release, at a database."""

    def __init__(self, name: str, package: Path, url: str) -> None:
        self.name = name
        self._errors = TemporaryFile("w+")  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(ROOT / "tests/faults/release_process.py")],
            cwd=package,
            env={
                **environ,
                "PYTHONPATH": str(package),
                "DATABASE": json.dumps(parse_database_url(url)),
                "FLAGSTAFF": json.dumps({"STARTUP_TIMEOUT": 10, "MEASURE_INTERVAL": 1}),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def end(self) -> None:
        """Ends it, with its last reports. It must have written nothing to standard error."""
        with self._errors:
            self._stdin.close()
            status = self._process.wait(seconds(SERVER))
            self._errors.seek(0)
            assert (self.name, status, self._errors.read()) == (self.name, 0, "")

    def kill(self) -> None:
        """Ends it at once; does nothing after the end."""
        with self._process:
            self._process.kill()
        self._errors.close()

    @property
    def _stdin(self) -> Any:
        return self._process.stdin

    def send(self, *command: Any) -> None:
        """Sends a command of `release_process.py`."""
        self._stdin.write(json.dumps(command) + "\n")
        self._stdin.flush()

    def receive(self) -> Any:
        """Returns the result of the last command."""
        stdout: Any = self._process.stdout
        line = stdout.readline()
        assert line, f"a process of the {self.name} release has ended"
        answer = json.loads(line)
        assert "error" not in answer, f"{self.name} release: {answer}"
        return answer["result"]

    def ask(self, *command: Any) -> Any:
        """Runs a command, and returns its result."""
        self.send(*command)
        return self.receive()


@final
class Expected:
    """The rows as they must be after all changes, and the next changes, drawn at random."""

    def __init__(self) -> None:
        self.random = random.Random(1)
        #: None is a deleted flag.
        self.flags: dict[str, dict[str, Any] | None] = dict.fromkeys(_FLAGS)
        self.values: dict[str, Any] = dict(_VALUES)
        self.segments: dict[str, Any] = dict(_SEGMENTS)
        self.members: dict[str, set[int]] = {name: set() for name in _GROUPS}

    def draw(self, *, groups: bool) -> str:
        """Returns the key of a row that changes next, most often of a flag."""
        names = _FLAGS * 3 + [*_VALUES, *_SEGMENTS] + (_GROUPS if groups else [])
        return self.random.choice(names)

    def change(self, key: str) -> Step:
        """Returns the next change of a row, and makes it here."""
        draw = self.random
        if key in self.values:
            self.values[key] = draw.choice([draw.randrange(1000), "paypal", {"a": [1, None]}])
            return Step("value", key, self.values[key])
        if key in self.segments:
            self.segments[key] = draw.choice([_STAFF, _CREW])
            return Step("conditions", key, self.segments[key])
        pk = draw.randint(1, _USERS)
        if key in self.members:
            is_member = pk in self.members[key]
            self.members[key] ^= {pk}
            return Step("leave" if is_member else "join", key, pk)
        return self._change_flag(key, pk)

    def _change_flag(self, key: str, pk: int) -> Step:
        row, draw = self.flags[key], self.random
        if row is None:
            fields = {"enabled": draw.random() < 0.8, "rollout_percent": draw.randint(0, 100)}
            self.flags[key] = {**fields, "rules": [], "allowed": set()}
            return Step("create", key, fields)
        name = draw.choice(
            ["kill", "enable", "rollout", "rules", "allow", "disallow"] * 3 + ["delete"]
        )
        new: Any = None
        if name == "delete":
            self.flags[key] = None
        elif name in {"kill", "enable"}:
            row["enabled"] = name == "enable"
        elif name == "rollout":
            new = row["rollout_percent"] = draw.randint(0, 100)
        elif name == "rules":
            new = row["rules"] = draw.choice(_RULES)
        else:
            new = pk
            row["allowed"] = row["allowed"] | {pk} if name == "allow" else row["allowed"] - {pk}
        return Step(name, key, new)

    def rows(self) -> list[tuple[Any, ...]]:
        """The rows of flags as `_ROWS` reads them."""
        return [
            (key, row["enabled"], row["rollout_percent"], row["rules"], sorted(row["allowed"]))
            for key, row in self.flags.items()
            if row is not None
        ]

    def results(self) -> list[dict[str, Any]]:
        """What each user gets, by the reference in plain Python: of flags and of values."""
        flags = {key: [self._result(key, pk) for pk in range(1, _USERS + 1)] for key in _FLAGS}
        return [flags, {key: [value] * _USERS for key, value in self.values.items()}]

    def _result(self, key: str, pk: int) -> bool:
        row = self.flags[key]
        if row is None:
            return False
        allowed = frozenset(map(str, row["allowed"]))
        enabled, percent = row["enabled"], row["rollout_percent"]
        flag = Flag(key, enabled, percent, allowed, row["rules"], self.segments)
        groups = [name for name, members in self.members.items() if pk in members]
        attributes = {"is_staff": pk <= _USERS // 2, "groups": groups}
        return bool(evaluate(flag, str(pk), attributes, timezone.utc).value)


@final
class Deploy:
    """Workers of both releases at the tables of one of them, and what they have done.

    As a context manager it ends them.
    """

    def __init__(self, url: str, tables: str) -> None:
        self._url, self._tables = url, tables
        self._packages = {"old": old_release(), "new": ROOT / "python"}
        self._sql = psycopg.connect(url, autocommit=True, options="-c TimeZone=UTC")
        self._started: list[Release] = []
        #: What the experiment gave first.
        self._variants: Any = None
        self.expected = Expected()
        self.workers = [self._start(name) for name in _RELEASES * _WORKERS_OF_EACH]

    def __enter__(self) -> Deploy:
        return self

    def __exit__(self, *_error: object) -> None:
        self._sql.close()
        for worker in self._started:
            worker.kill()

    def _start(self, name: str) -> Release:
        self._started.append(Release(name, self._packages[name], self._url))
        return self._started[-1]

    def of(self, release: str) -> Release:
        """The first worker of a release, which also writes."""
        return next(worker for worker in self.workers if worker.name == release)

    def create_tables(self) -> None:
        """Migrates with one release, while workers of both run without tables."""
        for worker in self.workers:
            worker.send("ready", 0)
        for worker in self.workers:
            assert worker.receive() is False
        migrating = self.of(self._tables)
        migrating.ask("migrate")
        migrating.ask("begin", _USERS, _GROUPS, _VALUES, _SEGMENTS)
        for worker in self.workers:
            self._load(worker)
        self.run_jobs()
        assert self.of("new").ask("start plan", "planned", ["5:1h", "50:1h"]) == "running"

    def _load(self, worker: Release) -> None:
        worker.ask("load", seconds(SERVER))
        worker.ask("count", "counted", _COUNTED)

    def run_jobs(self) -> None:
        """Runs the jobs of the releases whose tables exist: those of the new one need `migrate`."""
        for release in _RELEASES if self._tables == "new" else ["old"]:
            status, errors = self.of(release).ask("command", "run-jobs")
            assert status == 0, (release, errors)

    def change(self) -> None:
        """One change by each release and one by SQL, at the same time, each of another row."""
        expected, keys = self.expected, set[str]()
        steps = []
        for writer in ("old", "new", "sql"):
            key = expected.draw(groups=writer != "sql")
            while key in keys:
                key = expected.draw(groups=writer != "sql")
            keys.add(key)
            steps.append(expected.change(key))
        old, new, by_sql = steps
        writers = {"old": old, "new": new}
        for release, step in writers.items():
            self.of(release).send(expected.random.choice(["code", "orm"]), *step)
        self._write(by_sql)
        for release in writers:
            self.of(release).receive()

    def _write(self, step: Step) -> None:
        parameters = {"key": step.key, "new": Jsonb(step.new)}
        with self._sql.transaction():
            for statement in _SQL[step.name].split(";"):
                self._sql.execute(statement.encode(), parameters)

    def restart_a_worker(self, release: str) -> None:
        """Ends a worker of a release that does not write, and starts another."""
        ended = [worker for worker in self.workers if worker.name == release][-1]
        self.workers.remove(ended)
        ended.end()
        self.workers.append(self._start(release))
        self._load(self.workers[-1])

    def stop_and_go_on(self, first: str, second: str) -> None:
        """One release stops the plan and the experiment, and the other one takes it back."""
        assert self.of(first).ask("pause plan", "planned") == "paused"
        assert self.of(first).ask("stop experiment", "button") == "stopped"
        self._wait()
        for worker in self.workers:
            *_others, variants = worker.ask("results", [], [], ["button"])
            assert variants == {"button": [None] * _USERS}
        self.run_jobs()
        assert self.of(second).ask("resume plan", "planned") == "running"
        assert self.of(second).ask("undo experiment", "button") == "running"

    def end(self) -> None:
        """Ends all workers, whose reports must have arrived, each once."""
        for worker in self.workers:
            worker.end()
        assert self._rows(_REPORTED) == [(len(self._started) * _COUNTED, _USERS)]

    def _rows(self, query: str) -> list[Any]:
        return self._sql.execute(query.encode()).fetchall()

    def _wait(self) -> None:
        """Waits for all workers by the functions of both releases."""
        for release in _RELEASES:
            propagation = self.of(release).ask("wait", seconds(SERVER), len(self.workers))
            seen = {name: propagation[name] for name in ("applied", "pending", "lost")}
            assert seen == {"applied": len(self.workers), "pending": [], "lost": []}, release
            assert propagation["complete"], release

    def check(self) -> None:
        """All workers have all changes, and the rows and the history have each of them once."""
        self._wait()
        expected = self.expected.results()
        for worker in self.workers:
            *results, variants = worker.ask("results", _FLAGS, [*_VALUES], ["button"])
            assert (worker.name, results) == (worker.name, expected)
            self._variants = self._variants or variants
            assert variants == self._variants
            status = worker.ask("status")
            assert (status["mode"], status["problems"]) == ("live", []), worker.name
            assert worker.ask("logged") == [], worker.name
        assert self._rows(_ROWS) == self.expected.rows()
        assert self._replayed() == {
            (relation, pk): _watched(row) for relation, pk, row in self._rows(_STORED)
        }

    def _replayed(self) -> dict[tuple[str, str], Any]:
        """Returns the rows that the entries lead to. Each must begin where the last one ended."""
        rows: dict[tuple[str, str], Any] = {}
        for relation, pk, old, new in self._rows(_ENTRIES):
            row = rows.pop((relation, pk), None)
            if relation == "m":
                row, removed, added = row or [], old or [], new or []
                assert set(removed) <= set(row), (pk, row, old, new)
                assert not set(added) & set(row), (pk, row, old, new)
                after: Any = sorted({*row, *added} - {*removed})
            else:
                assert row == _watched(old), (relation, pk, row, old)
                after = _watched(new)
            if after:
                rows[relation, pk] = after
        return rows

    def write(self, *steps: Step) -> None:
        """Writes changes by SQL, and waits for all workers."""
        for step in steps:
            self._write(step)
        self._wait()

    def results_of(self, key: str) -> dict[str, list[bool]]:
        """What each user gets of a flag, by release."""
        return {
            release: self.of(release).ask("results", [key], [], [])[0][key] for release in _RELEASES
        }


def _watched(row: Any) -> Any:
    """Returns a row without the time of its change, which alone makes no entry."""
    if isinstance(row, dict):
        return {name: value for name, value in row.items() if name != "changed_at"}
    return row


@pytest.mark.timeout(2 * CHILD + 2 * _SECONDS)
@pytest.mark.parametrize("tables", _RELEASES)
def test_workers_of_two_releases_agree_with_each_other_and_with_the_database(
    tables: str, empty_database: str
) -> None:
    with Deploy(empty_database, tables) as deploy:
        deploy.create_tables()
        started = time.monotonic()
        for check in range(1, _CHECKS + 1):
            while time.monotonic() < started + _SECONDS * check / _CHECKS:
                deploy.change()
            deploy.check()
            first, second = _RELEASES if check % 2 else _RELEASES[::-1]
            deploy.stop_and_go_on(first, second)
            deploy.restart_a_worker(first)
            deploy.check()
        deploy.end()


_NEEDS = {"flag": "flag_1", "is": True}
_BUCKET = {"bucket": "holdout", "operator": "lt", "values": [50]}
_IN_BUCKET = [hundredths("holdout", pk) < 5_000 for pk in range(1, _USERS + 1)]


@pytest.mark.timeout(2 * CHILD)
@pytest.mark.parametrize(
    ("newest", "results"),
    [
        (Step("rules", "flag_0", [{"conditions": [_BUCKET]}]), _IN_BUCKET),
        (Step("rules", "flag_0", [{"conditions": [_NEEDS]}]), [True] * _USERS),
        (Step("conditions", "insiders", [_BUCKET]), _IN_BUCKET),
    ],
    ids=["bucket", "flag", "segment"],
)
def test_old_release_keeps_the_last_rules_that_it_can_read(
    newest: Step, results: list[bool], empty_database: str
) -> None:
    with Deploy(empty_database, "new") as deploy:
        deploy.create_tables()
        columns = {"enabled": True, "rollout_percent": 0}
        of_segment = [{"conditions": [{"segment": "insiders"}]}]
        deploy.write(
            Step("create", "flag_0", columns),
            Step("create", "flag_1", {**columns, "rollout_percent": 100}),
            Step("rules", "flag_0", of_segment),
        )
        of_staff = [pk <= _USERS // 2 for pk in range(1, _USERS + 1)]
        assert deploy.results_of("flag_0") == {"old": of_staff, "new": of_staff}
        deploy.write(newest)
        assert deploy.results_of("flag_0") == {"old": of_staff, "new": results}
        [problem] = deploy.of("old").ask("status")["problems"]
        assert "last good" in problem
        assert deploy.of("new").ask("status")["problems"] == []
        deploy.write(Step("kill", "flag_0"))
        assert deploy.results_of("flag_0") == dict.fromkeys(_RELEASES, [False] * _USERS)
