"""`make demo-rollout` shows a plan that is rolled back, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tools.ports import free_port, is_free


@pytest.mark.timeout(170)
def test_demo_of_a_plan_ends_at_0_percent_and_stops_on_ctrl_c() -> None:
    port = free_port()
    command = [sys.executable, "-m", "tools.demo_rollout"]
    environment = os.environ | {"PORT": str(port), "DJANGO_SETTINGS_MODULE": "shop.settings"}
    text = ""
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout
        for line in demo.stdout:
            text += line
            if "Ctrl-C stops the demo" in line:
                demo.send_signal(signal.SIGINT)
    assert demo.returncode == 0, text
    assert "rolled back by " in text
    assert "0 % in 4 workers" in text
    assert f"http://127.0.0.1:{port}/admin/flagstaff_rollouts/plan/1/change/" in text
    assert is_free(port)
