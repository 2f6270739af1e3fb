"""The faults. Each fault is over and repaired when its function returns."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable

from tools.soak.environment import TABLES, Environment
from tools.soak.fault_log import FaultLog
from tools.soak.writer import Writer
from tools.token_triggers import always

LOCK = f"LOCK TABLE {', '.join(TABLES)} IN ACCESS EXCLUSIVE MODE"


class Faults:
    """All faults, by name."""

    def __init__(self, env: Environment, writer: Writer, log: FaultLog) -> None:
        self._env = env
        self._writer = writer
        self._log = log

    def all(self) -> dict[str, Callable[[], None]]:
        """Returns all faults by name."""
        return {
            "sessions terminated": self.terminate,
            "links broken": self._env.proxy.cut,
            "server crashed": self.crash,
            "server stopped": self.stop,
            "backend hung": self.hang_backend,
            "log-in hung": self.hang_postmaster,
            "network silent": self.black_hole,
            "storm of changes": self.storm,
            "TRUNCATE and refill": self.refill,
            "tables locked": self.lock,
            "password changed": self.change_password,
            "triggers disabled": self.disable_triggers,
            "one trigger disabled": self.disable_one_trigger,
            "replica role": self.replica_role,
            "backup restored": self.restore,
        }

    def terminate(self) -> None:
        """Terminates all sessions of the workers on the server."""
        self._env.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'shop'"
        )

    def crash(self) -> None:
        """Stops the server as `pg_ctl stop -m immediate` does; the start runs crash recovery."""
        server = self._env.server
        with self._log.outage.record():
            os.kill(server.pid, signal.SIGQUIT)
            server.restart()

    def stop(self) -> None:
        """Stops the server for some seconds, as for maintenance."""
        with self._log.outage.record():
            self._env.server.stop()
            time.sleep(random.uniform(2, 8))  # noqa: S311 (no secret)
            self._env.server.start()

    def hang_backend(self) -> None:
        """Suspends the backend of one worker."""
        backends = self._env.backends()
        if not backends:
            return
        hung = random.choice(backends)  # noqa: S311
        os.kill(hung, signal.SIGSTOP)
        try:
            time.sleep(8)
        finally:
            os.kill(hung, signal.SIGCONT)

    def hang_postmaster(self) -> None:
        """Terminates all sessions, and suspends the postmaster, so new ones hang."""
        with self._log.outage.record():
            self.terminate()
            os.kill(self._env.server.pid, signal.SIGSTOP)
            try:
                time.sleep(6)
            finally:
                os.kill(self._env.server.pid, signal.SIGCONT)

    def black_hole(self) -> None:
        """Drops all network traffic without closing connections."""
        with self._log.outage.record():
            self._env.proxy.stop()
            try:
                time.sleep(8)
            finally:
                self._env.proxy.resume()

    def storm(self) -> None:
        """Commits a thousand transactions as fast as possible."""
        self._run_outside_a_transaction(
            "DO $$ BEGIN FOR number IN 1..1000 LOOP "
            "UPDATE flagstaff_keyvaluestore SET value = to_jsonb(number) WHERE key = 'value_1'; "
            "COMMIT; END LOOP; END $$"
        )

    def refill(self) -> None:
        """Truncates all tables and fills them again, in one transaction, twenty times."""
        for _ in range(20):
            self._env.run(
                LOCK,
                *(
                    f"CREATE TEMP TABLE copy_{n} ON COMMIT DROP AS TABLE {t}"
                    for n, t in _numbered()
                ),
                f"TRUNCATE {', '.join(TABLES)}",
                "SELECT pg_sleep(0.02)",
                *(
                    f"INSERT INTO {t} OVERRIDING SYSTEM VALUE TABLE copy_{n}"
                    for n, t in _numbered()
                ),
            )

    def lock(self) -> None:
        """Locks all tables, as a long migration does."""
        with self._log.outage.record():
            self._env.run(LOCK, "SELECT pg_sleep(3)")

    def change_password(self) -> None:
        """Changes the password, and gives it to the workers some seconds later."""
        with self._log.outage.record():
            password = self._env.new_password()
            self.terminate()
            time.sleep(random.uniform(0, 4))  # noqa: S311
            self._env.publish_password(password)

    def disable_triggers(self) -> None:
        """Disables all triggers, as `pg_restore --disable-triggers` does."""
        self._write_without_tokens(*TABLES)

    def disable_one_trigger(self) -> None:
        """Disables the triggers of one table only."""
        self._write_without_tokens(random.choice(TABLES))  # noqa: S311

    def _write_without_tokens(self, *tables: str) -> None:
        with self._log.without_tokens.record():
            self._env.run(*(f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in tables))
            # Long enough for workers to notice, or not.
            time.sleep(random.uniform(0, 15))  # noqa: S311
            self._env.run("UPDATE flagstaff_featureflag SET rollout_percent = 7 WHERE id = 7")
            self._env.run(*(f"ALTER TABLE {table} ENABLE TRIGGER ALL" for table in tables))
            self._env.run(*map(always, tables))

    def replica_role(self) -> None:
        """Writes in a session with the replica role, in which ordinary triggers do not fire."""
        self._env.run(
            "SET LOCAL session_replication_role = replica",
            "UPDATE flagstaff_featureflag SET rollout_percent = 8 WHERE key = 'flag_8'",
            "UPDATE flagstaff_keyvaluestore SET value = '8' WHERE key = 'value_8'",
        )

    def restore(self) -> None:
        """Restores a backup: new tables with the same names, and token ids that repeat."""
        with self._writer.paused():
            self._env.back_up()
        time.sleep(3)
        with self._writer.paused(), self._log.rewound.record():
            self._env.restore()

    def _run_outside_a_transaction(self, statement: str) -> None:
        with self._env.connect() as session:
            session.execute(statement.encode())


def _numbered() -> list[tuple[int, str]]:
    return list(enumerate(TABLES))
