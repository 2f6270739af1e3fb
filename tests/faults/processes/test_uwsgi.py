"""uWSGI, which by default forks without calling Python's fork hooks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.app_servers import ROOT, AppServer, program
from tests.support.sessions import Sessions, within

WORKERS = 3
# How the processes are forked, and whether Python's fork hooks are called.
OPTIONS = {
    "plain": [],
    "threads": ["--enable-threads", "--threads=4"],
    "osafterfork": ["--enable-threads", "--py-call-osafterfork"],
    "fork-hooks": ["--enable-threads", "--py-call-uwsgi-fork-hooks"],
    "lazy-apps": ["--enable-threads", "--lazy-apps"],
    "lazy-apps, osafterfork": ["--enable-threads", "--lazy-apps", "--py-call-osafterfork"],
}
Query = Callable[..., Any]


def uwsgi(database: str, *options: str, **variables: str) -> AppServer:
    always = ["--http-socket=127.0.0.1:{port}", "--master", f"--processes={WORKERS}"]
    always += ["--need-app", "--die-on-term", "--single-interpreter", "--disable-logging"]
    always += ["--worker-reload-mercy=5", f"--chdir={ROOT}"]
    application = "--module=tests.faults.served.wsgi"
    command = [program("uwsgi"), *always, *options, application]
    python = {"VIRTUAL_ENV": str(Path(program("uwsgi")).parent.parent)}
    return AppServer(*command, database=database, **python, **variables)


@pytest.mark.parametrize("early", [False, True], ids=["", "evaluated before the fork"])
@pytest.mark.parametrize("mode", OPTIONS)
def test_uwsgi_workers_evaluate_at_once_and_see_changes_over_one_connection_each(
    mode: str, early: bool, database: str, query: Query, sessions: Sessions
) -> None:
    variables = {"EVALUATE_AT_IMPORT": "1"} if early else {}
    with uwsgi(database, *OPTIONS[mode], **variables) as server:
        server.wait()
        first = server.get_from_each(WORKERS)
        assert {response["gateway"] for response in first.values()} == {"stripe"}
        master = [server.pid] if early and "lazy-apps" not in mode else []
        pids = sorted([*master, *first])
        assert within(1, lambda: sorted(s.owner for s in sessions()) == pids), sessions()
        before = sessions()
        query("UPDATE flagstaff_keyvaluestore SET value = '\"paypal\"'")
        assert server.all_have_value(WORKERS, "paypal")
        assert sessions() == before
    assert within(2, lambda: sessions() == [])
    assert "flags are" not in server.log()
