"""`make demo-rollout` shows a plan that is rolled back, and leaves nothing behind."""

from __future__ import annotations

import pytest

from tests.faults.demos import text_of_demo
from tools.ports import free_port


@pytest.mark.timeout(170)
def test_demo_of_a_plan_ends_at_0_percent_and_stops_on_ctrl_c() -> None:
    port = free_port()
    text = text_of_demo("demo_rollout", port)
    assert "rolled back by " in text
    assert "0 % in 4 workers" in text
    assert f"http://127.0.0.1:{port}/admin/flagstaff_rollouts/plan/1/change/" in text
