"""`make demo-experiment` shows a result and a refusal, and leaves nothing behind."""

from __future__ import annotations

import pytest

from tests.faults.demos import text_of_demo
from tools.ports import free_port


@pytest.mark.timeout(170)
def test_demo_of_experiments_finds_what_was_planted_and_stops_on_ctrl_c() -> None:
    port = free_port()
    text = text_of_demo("demo_experiment", port)
    assert "treatment: the treatment is better" in text
    assert "treatment: no verdict: the shares are wrong" in text
    for experiment in (1, 2):
        page = f"/admin/flagstaff_experiments/experiment/{experiment}/change/"
        assert f"http://127.0.0.1:{port}{page}" in text
