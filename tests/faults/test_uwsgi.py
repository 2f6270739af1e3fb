"""uWSGI, which forks without Python's hooks unless it is told to call them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.servers import ROOT, Server, program
from tests.sessions import Sessions, within

WORKERS = 3
# How the processes come to be, and whether Python hears of it.
WAYS = {
    "plain": [],
    "threads": ["--enable-threads", "--threads=4"],
    "osafterfork": ["--enable-threads", "--py-call-osafterfork"],
    "fork-hooks": ["--enable-threads", "--py-call-uwsgi-fork-hooks"],
    "lazy-apps": ["--enable-threads", "--lazy-apps"],
    "lazy-apps, osafterfork": ["--enable-threads", "--lazy-apps", "--py-call-osafterfork"],
}
Query = Callable[..., Any]


def uwsgi(database: str, *options: str, **variables: str) -> Server:
    always = ["--http-socket=127.0.0.1:{port}", "--master", f"--processes={WORKERS}"]
    always += ["--need-app", "--die-on-term", "--single-interpreter", "--disable-logging"]
    always += ["--worker-reload-mercy=5", f"--chdir={ROOT}"]
    application = "--module=tests.faults.served.wsgi"
    command = [program("uwsgi"), *always, *options, application]
    python = {"VIRTUAL_ENV": str(Path(program("uwsgi")).parent.parent)}
    return Server(*command, database=database, **python, **variables)


@pytest.mark.parametrize("early", [False, True], ids=["", "asked before the fork"])
@pytest.mark.parametrize("way", WAYS)
def test_each_process_answers_at_once_and_sees_a_change_with_one_connection(
    way: str, early: bool, database: str, query: Query, sessions: Sessions
) -> None:
    variables = {"ASK_EARLY": "1"} if early else {}
    with uwsgi(database, *WAYS[way], **variables) as server:
        server.wait()
        first = server.from_each(WORKERS)
        assert {answer["gateway"] for answer in first.values()} == {"stripe"}
        master = [server.pid] if early and "lazy-apps" not in way else []
        everybody = sorted([*master, *first])
        assert within(1, lambda: sorted(s.owner for s in sessions()) == everybody), sessions()
        before = sessions()
        query("UPDATE flagstaff_keyvaluestore SET value = '\"paypal\"'")
        assert server.each_says(WORKERS, "paypal")
        assert sessions() == before
    assert within(2, lambda: sessions() == [])
    assert "flags are" not in server.log()
