"""Runs a demo until it is ready, and ends it by Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from tests.conftest import ROOT
from tools.ports import is_free

__all__ = ["text_of_demo"]


def text_of_demo(name: str, port: int) -> str:
    """Returns what `python -m tools.NAME` prints. It must leave nothing behind at the port."""
    environment = os.environ | {"PORT": str(port), "DJANGO_SETTINGS_MODULE": "shop.settings"}
    command = [sys.executable, "-m", f"tools.{name}"]
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
    assert is_free(port)
    return text
