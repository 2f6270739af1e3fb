"""What goes wrong. Each fault is over, and mended, when its function returns."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable

from tools.soak.heart import Heart
from tools.soak.journal import StatusLog
from tools.soak.stage import TABLES, Stage

LOCK = f"LOCK TABLE {', '.join(TABLES)} IN ACCESS EXCLUSIVE MODE"


class Faults:
    """All faults, by name."""

    def __init__(self, stage: Stage, heart: Heart, journal: StatusLog) -> None:
        self._stage = stage
        self._heart = heart
        self._journal = journal

    def all(self) -> dict[str, Callable[[], None]]:
        """What can go wrong."""
        return {
            "sessions terminated": self.terminate,
            "links broken": self._stage.proxy.reset,
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
        """End all sessions of the workers, from the server's side."""
        self._stage.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'shop'"
        )

    def crash(self) -> None:
        """Stop without a farewell, as `pg_ctl stop -m immediate` does; the start recovers."""
        server = self._stage.server
        with self._journal.outage.going_on():
            os.kill(server.pid, signal.SIGQUIT)
            server.restart()

    def stop(self) -> None:
        """A maintenance of some seconds."""
        with self._journal.outage.going_on():
            self._stage.server.stop()
            time.sleep(random.uniform(2, 8))  # noqa: S311 (no secret)
            self._stage.server.start()

    def hang_backend(self) -> None:
        """The process that serves one of the workers says nothing any more, and lives."""
        backends = self._stage.backends()
        if not backends:
            return
        hung = random.choice(backends)  # noqa: S311
        os.kill(hung, signal.SIGSTOP)
        try:
            time.sleep(8)
        finally:
            os.kill(hung, signal.SIGCONT)

    def hang_postmaster(self) -> None:
        """Sessions end, and new ones get no answer."""
        with self._journal.outage.going_on():
            self.terminate()
            os.kill(self._stage.server.pid, signal.SIGSTOP)
            try:
                time.sleep(6)
            finally:
                os.kill(self._stage.server.pid, signal.SIGCONT)

    def black_hole(self) -> None:
        """The network loses everything, and tells nobody."""
        with self._journal.outage.going_on(), self._stage.proxy.black_hole():
            time.sleep(8)

    def storm(self) -> None:
        """A thousand transactions, as quickly as the server can."""
        self._run_outside_a_transaction(
            "DO $$ BEGIN FOR number IN 1..1000 LOOP "
            "UPDATE flagstaff_keyvaluestore SET value = to_jsonb(number) WHERE key = 'value_1'; "
            "COMMIT; END LOOP; END $$"
        )

    def refill(self) -> None:
        """Empty all tables and fill them again, in one transaction, twenty times."""
        for _ in range(20):
            self._stage.run(
                LOCK,
                *(
                    f"CREATE TEMP TABLE kept_{n} ON COMMIT DROP AS TABLE {t}"
                    for n, t in _numbered()
                ),
                f"TRUNCATE {', '.join(TABLES)}",
                "SELECT pg_sleep(0.02)",
                *(
                    f"INSERT INTO {t} OVERRIDING SYSTEM VALUE TABLE kept_{n}"
                    for n, t in _numbered()
                ),
            )

    def lock(self) -> None:
        """A migration that takes its time."""
        with self._journal.outage.going_on():
            self._stage.run(LOCK, "SELECT pg_sleep(3)")

    def change_password(self) -> None:
        """The password is another one, and the workers are told of it some seconds later."""
        with self._journal.outage.going_on():
            password = self._stage.new_password()
            self.terminate()
            time.sleep(random.uniform(0, 4))  # noqa: S311
            self._stage.tell_password(password)

    def disable_triggers(self) -> None:
        """Nothing tells of a change, as while `pg_restore --disable-triggers` runs."""
        self._leave_untold(*TABLES)

    def disable_one_trigger(self) -> None:
        """One table says nothing any more, beside others that go on."""
        self._leave_untold(random.choice(TABLES))  # noqa: S311

    def _leave_untold(self, *tables: str) -> None:
        with self._journal.untold.going_on():
            self._stage.run(*(f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in tables))
            # Long enough for workers to notice, or not.
            time.sleep(random.uniform(0, 15))  # noqa: S311
            self._stage.run("UPDATE flagstaff_featureflag SET rollout_percent = 7 WHERE id = 7")
            self._stage.run(*(f"ALTER TABLE {table} ENABLE TRIGGER ALL" for table in tables))
            token = "ENABLE ALWAYS TRIGGER flagstaff_token_v1"  # noqa: S105 (of another kind)
            self._stage.run(*(f"ALTER TABLE {table} {token}" for table in tables))

    def replica_role(self) -> None:
        """A session that replays, for which ordinary triggers do not fire."""
        self._stage.run(
            "SET LOCAL session_replication_role = replica",
            "UPDATE flagstaff_featureflag SET rollout_percent = 8 WHERE key = 'flag_8'",
            "UPDATE flagstaff_keyvaluestore SET value = '8' WHERE key = 'value_8'",
        )

    def restore(self) -> None:
        """Go back to a backup: other tables of the same names, and tokens that are drawn again."""
        with self._heart.paused():
            self._stage.back_up()
        time.sleep(3)
        with self._heart.paused(), self._journal.rewound.going_on():
            self._stage.restore()

    def _run_outside_a_transaction(self, statement: str) -> None:
        with self._stage.connect() as session:
            session.execute(statement.encode())


def _numbered() -> list[tuple[int, str]]:
    return list(enumerate(TABLES))
