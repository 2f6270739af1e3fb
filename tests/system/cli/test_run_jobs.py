"""`manage.py flags run-jobs --loop` as a process."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.support.fixtures import Query
from tests.support.webhooks import Webhook
from tools.limits import seconds


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_loop_stops_cleanly_on_a_signal(
    database: str, query: Query, hook: Webhook, number: signal.Signals
) -> None:
    settings = {"WEBHOOKS": {"ops": hook.settings()}}
    command = [sys.executable, "-W", "error", "-m", "tests.support.manage_with"]
    process = subprocess.Popen(
        [*command, "flags", "run-jobs", "--loop", "0.05"],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": database, "FLAGSTAFF": json.dumps(settings)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr
        assert process.stderr.readline() == "running jobs\n"
        while not query("SELECT receiver FROM flagstaff_webhooks_position"):
            pass
        query("UPDATE flagstaff_featureflag SET enabled = false")
        assert hook.requested.wait(seconds(20))
        assert process.stdout
        assert process.stdout.readline() == (
            f"receiver ops\thost 127.0.0.1:{hook.port}\tdelivered 1\tfailed_attempts 0\t"
            "expired 0\tpending 0\tfailed 0\n"
        )
        process.send_signal(number)
        out, err = process.communicate(timeout=seconds(20))
        assert (process.returncode, out, err) == (0, "", "")
    finally:
        process.kill()
        process.communicate()
