"""Constant changes: a beat to measure staleness by, and random changes."""

from __future__ import annotations

import random
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import final

import psycopg

from tools.soak.environment import Environment
from tools.soak.worker import USERS

PAUSE = 0.25

# Tables are always written in the same order, to avoid deadlocks.
FLAG_CHANGES = (
    "UPDATE flagstaff_featureflag SET rollout_percent = {percent} WHERE key = 'flag_{flag}'",
    "UPDATE flagstaff_featureflag SET enabled = NOT enabled WHERE key = 'flag_{flag}'",
    """
    INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent)
    VALUES ('extra_{flag}', true, {percent})
    ON CONFLICT (key) DO UPDATE SET rollout_percent = excluded.rollout_percent
    """,
    "DELETE FROM flagstaff_featureflag WHERE key = 'extra_{flag}'",
    """
    INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, user_id)
    SELECT id, {user} FROM flagstaff_featureflag WHERE key = 'flag_{flag}' ON CONFLICT DO NOTHING
    """,
    """
    DELETE FROM flagstaff_featureflag_allowed_users WHERE user_id = {user} AND featureflag_id =
        (SELECT id FROM flagstaff_featureflag WHERE key = 'flag_{flag}')
    """,
)
VALUE_CHANGES = (
    """
    INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('value_{flag}', '{percent}')
    ON CONFLICT (key) DO UPDATE SET value = excluded.value
    """,
    "DELETE FROM flagstaff_keyvaluestore WHERE key = 'value_{flag}'",
)
PAIR = (
    "UPDATE flagstaff_featureflag SET rollout_percent = {percent} WHERE key = 'pair'",
    "UPDATE flagstaff_keyvaluestore SET value = '{percent}' WHERE key IN ('left', 'right')",
    "UPDATE flagstaff_keyvaluestore SET value = '{beat}' WHERE key = 'beat'",
)


@final
class Writer:
    """A thread that writes four times a second, and records the time of each commit."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._number = 0
        self.beats: list[int] = []
        self.committed_at: list[float] = []

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pauses the changes while the block runs."""
        with self._lock:
            yield

    def unseen_since(self, beat: int) -> float | None:
        """Returns when the first beat after this one was committed; None if there is none."""
        after = bisect_right(self.beats, beat)
        return self.committed_at[after] if after < len(self.committed_at) else None

    def _run(self) -> None:
        session: psycopg.Connection[tuple[object, ...]] | None = None
        while not self._stopped.wait(PAUSE):
            with self._lock:
                # The server may be unreachable during a fault.
                try:
                    session = session or self._env.connect()
                    self.beat(session)
                except psycopg.Error:
                    if session is not None:
                        with suppress(psycopg.Error):
                            session.close()
                    session = None
        if session is not None:
            session.close()

    def beat(self, session: psycopg.Connection[tuple[object, ...]]) -> None:
        """Commits a random change, the pair that must be consistent, and the beat."""
        self._number += 1
        change = random.choice(FLAG_CHANGES + VALUE_CHANGES)  # noqa: S311 (no secret)
        statements = (change, *PAIR) if change in FLAG_CHANGES else (*PAIR, change)
        chosen = {
            "percent": random.randrange(100),  # noqa: S311
            "flag": random.randrange(1, 20),  # noqa: S311
            "user": random.choice(USERS),  # noqa: S311
            "beat": self._number,
        }
        with session.transaction():
            session.execute("SET LOCAL lock_timeout = '10s'")
            for statement in statements:
                session.execute(statement.format(**chosen).encode())
        self.beats.append(self._number)
        self.committed_at.append(time.monotonic())
