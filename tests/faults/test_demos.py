"""The demos show what they promise, stop on Ctrl-C, and leave nothing behind."""

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tools.ports import free_port, is_free


@pytest.mark.timeout(170)
@pytest.mark.parametrize(
    ("name", "lines", "pages"),
    [
        (
            "demo_experiment",
            ["treatment: the treatment is better", "$ manage.py flags run-jobs"],
            ["flagstaff_experiments/experiment/1/change/"],
        ),
        (
            "demo_rollout",
            ["rolled back: ", "0 % in 4 workers"],
            ["flagstaff_rollouts/plan/1/change/"],
        ),
    ],
)
def test_demo_prints_its_result_and_its_pages(
    name: str, lines: list[str], pages: list[str]
) -> None:
    port = free_port()
    text = ""
    with subprocess.Popen(
        [sys.executable, "-m", f"tools.{name}"],
        cwd=ROOT,
        env=os.environ | {"PORT": str(port), "DJANGO_SETTINGS_MODULE": "shop.settings"},
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout
        for line in demo.stdout:
            text += line
            if "Ctrl-C stops the demo" in line:
                demo.send_signal(signal.SIGINT)
    assert demo.returncode == 0, text
    assert is_free(port)
    for expected in [*lines, *(f"http://127.0.0.1:{port}/admin/{page}" for page in pages)]:
        assert expected in text
