"""Concurrent writers of slots (see `tests.faults.slots`)."""

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import IsolationLevel

from tests.faults.slots import KEYS, USERS

FLAGS = "flagstaff_featureflag"
ALLOWED_USERS = "flagstaff_featureflag_allowed_users"
VALUES = "flagstaff_keyvaluestore"
TABLES = f"{FLAGS}, {ALLOWED_USERS}, {VALUES}"


class Rollback(Exception):  # noqa: N818 (not an error)
    """Raised to roll the transaction back."""


class Writer:
    """A session that changes random slots."""

    def __init__(self, database: str, seed: int) -> None:
        self._session = psycopg.connect(database, options="-c lock_timeout=5s")
        self._random = random.Random(seed)
        self.done: Counter[str] = Counter()

    def write(self, until: float) -> None:
        """Changes slots until this time. Does not retry transactions that the server aborts."""
        actions: list[Callable[[], None]] = [
            *[self._write_one] * 6,
            *[self._write_two] * 2,
            *[self._write_and_roll_back] * 2,
            *[self._write_in_savepoints] * 3,
            self._delete,
            self._refill,
        ]
        while time.monotonic() < until:
            self._session.isolation_level = self._random.choice(
                [IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ]
            )
            action = self._random.choice(actions)
            try:
                with self._session.transaction():
                    action()
                self.done[action.__name__] += 1
            except Rollback:
                self.done["rolled_back"] += 1
            except (
                psycopg.errors.SerializationFailure,
                psycopg.errors.DeadlockDetected,
                psycopg.errors.UniqueViolation,
                psycopg.errors.LockNotAvailable,
            ) as error:
                self.done[type(error).__name__] += 1

    def close(self) -> None:
        self._session.close()

    def _run(self, statement: str, *parameters: Any) -> psycopg.Cursor[Any]:
        return self._session.execute(statement.encode(), parameters or None)

    def _fill(self, key: str) -> None:
        """Writes a slot. The lock on the flag's row protects the whole slot."""
        users = sorted(self._random.sample(list(USERS), self._random.randrange(len(USERS))))
        rollout = self._random.randrange(100)
        row = self._run(
            f"UPDATE {FLAGS} SET rollout_percent = %s WHERE key = %s RETURNING id", rollout, key
        ).fetchone()
        row = (
            row
            or self._run(
                f"INSERT INTO {FLAGS} (key, enabled, rollout_percent) VALUES (%s, true, %s)"
                " RETURNING id",
                *(key, rollout),
            ).fetchone()
        )
        assert row
        self._pause()
        self._run(f"DELETE FROM {ALLOWED_USERS} WHERE featureflag_id = %s", row[0])
        self._run(
            f"INSERT INTO {ALLOWED_USERS} (featureflag_id, user_id) SELECT %s, unnest(%s::int[])",
            *(row[0], users),
        )
        self._run(
            f"INSERT INTO {VALUES} (key, value) VALUES (%s, %s)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            *(key, json.dumps({"rollout": rollout, "users": users})),
        )

    def _pause(self) -> None:
        """Sometimes sleeps, so that other writers commit meanwhile."""
        if self._random.random() < 0.3:
            time.sleep(self._random.uniform(0, 0.01))

    def _write_one(self) -> None:
        self._fill(self._random.choice(KEYS))

    def _write_two(self) -> None:
        for key in sorted(self._random.sample(KEYS, 2)):
            self._fill(key)

    def _write_and_roll_back(self) -> None:
        self._write_one()
        raise Rollback

    def _write_in_savepoints(self) -> None:
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
        row = self._run(f"SELECT id FROM {FLAGS} WHERE key = %s FOR UPDATE", key).fetchone()
        # A flag that another writer has just created stays.
        if row:
            self._run(f"DELETE FROM {ALLOWED_USERS} WHERE featureflag_id = %s", row[0])
            self._run(f"DELETE FROM {FLAGS} WHERE id = %s", row[0])
            self._run(f"DELETE FROM {VALUES} WHERE key = %s", key)

    def _refill(self) -> None:
        self._run(f"TRUNCATE {TABLES}")
        self._pause()
        for key in sorted(self._random.sample(KEYS, 8)):
            self._fill(key)
        if self._random.random() < 0.3:
            raise Rollback
