"""Those who write slots (see `tests.faults.slots`), each in another way, and all at once."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import IsolationLevel

from tests.faults.slots import KEYS, USERS

__all__ = ["FLAGS", "LISTS", "TABLES", "VALUES", "Writer"]

FLAGS = "flagstaff_featureflag"
LISTS = "flagstaff_featureflag_allowed_users"
VALUES = "flagstaff_keyvaluestore"
TABLES = f"{FLAGS}, {LISTS}, {VALUES}"


class Undone(Exception):  # noqa: N818 (no error)
    """Whoever wrote has thought better of it."""


class Writer:
    """A session that changes slots at random, as long as it is told to."""

    def __init__(self, database: str, seed: int) -> None:
        self._session = psycopg.connect(database, options="-c lock_timeout=5s")
        self._random = random.Random(seed)
        self.done: Counter[str] = Counter()

    def write(self, until: float) -> None:
        """Change slots. What the server refuses is given up, as an application would."""
        ways: list[Callable[[], None]] = [
            *[self._write_one] * 6,
            *[self._write_two] * 2,
            *[self._think_better] * 2,
            *[self._try_in_savepoints] * 3,
            self._delete,
            self._refill,
        ]
        while time.monotonic() < until:
            self._session.isolation_level = self._random.choice(
                [IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ]
            )
            way = self._random.choice(ways)
            try:
                with self._session.transaction():
                    way()
                self.done[way.__name__] += 1
            except Undone:
                self.done["undone"] += 1
            except (
                psycopg.errors.SerializationFailure,
                psycopg.errors.DeadlockDetected,
                psycopg.errors.UniqueViolation,
                psycopg.errors.LockNotAvailable,
            ) as refused:
                self.done[type(refused).__name__] += 1

    def close(self) -> None:
        self._session.close()

    def _run(self, statement: str, *parameters: Any) -> psycopg.Cursor[Any]:
        return self._session.execute(statement.encode(), parameters or None)

    def _fill(self, key: str) -> None:
        """Whoever has the flag's row has the slot."""
        users = sorted(self._random.sample(list(USERS), self._random.randrange(len(USERS))))
        rollout = self._random.randrange(100)
        found = self._run(
            f"UPDATE {FLAGS} SET rollout_percent = %s WHERE key = %s RETURNING id", rollout, key
        ).fetchone()
        found = (
            found
            or self._run(
                f"INSERT INTO {FLAGS} (key, enabled, rollout_percent) VALUES (%s, true, %s)"
                " RETURNING id",
                *(key, rollout),
            ).fetchone()
        )
        assert found
        self._pause()
        self._run(f"DELETE FROM {LISTS} WHERE featureflag_id = %s", found[0])
        self._run(
            f"INSERT INTO {LISTS} (featureflag_id, user_id) SELECT %s, unnest(%s::int[])",
            *(found[0], users),
        )
        self._run(
            f"INSERT INTO {VALUES} (key, value) VALUES (%s, %s)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            *(key, json.dumps({"rollout": rollout, "users": users})),
        )

    def _pause(self) -> None:
        """Let others write and commit meanwhile, now and then."""
        if self._random.random() < 0.3:
            time.sleep(self._random.uniform(0, 0.01))

    def _write_one(self) -> None:
        self._fill(self._random.choice(KEYS))

    def _write_two(self) -> None:
        for key in sorted(self._random.sample(KEYS, 2)):
            self._fill(key)

    def _think_better(self) -> None:
        self._write_one()
        raise Undone

    def _try_in_savepoints(self) -> None:
        key = self._random.choice(KEYS)
        self._run(f"SELECT FROM {FLAGS} WHERE key = %s FOR UPDATE", key)
        with self._session.transaction(force_rollback=True):
            self._run(f"UPDATE {FLAGS} SET rollout_percent = 100 WHERE key = %s", key)
        with self._session.transaction():
            self._fill(key)
        with self._session.transaction(force_rollback=True):
            self._run(f"UPDATE {VALUES} SET value = '\"undone\"' WHERE key = %s", key)

    def _delete(self) -> None:
        key = self._random.choice(KEYS)
        found = self._run(f"SELECT id FROM {FLAGS} WHERE key = %s FOR UPDATE", key).fetchone()
        # A flag that comes only now, with its list, is not for this one to delete.
        if found:
            self._run(f"DELETE FROM {LISTS} WHERE featureflag_id = %s", found[0])
            self._run(f"DELETE FROM {FLAGS} WHERE id = %s", found[0])
            self._run(f"DELETE FROM {VALUES} WHERE key = %s", key)

    def _refill(self) -> None:
        self._run(f"TRUNCATE {TABLES}")
        self._pause()
        for key in sorted(self._random.sample(KEYS, 8)):
            self._fill(key)
        if self._random.random() < 0.3:
            raise Undone
