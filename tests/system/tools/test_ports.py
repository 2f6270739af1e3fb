"""Ports of servers that tests of several processes start at the same time."""

from __future__ import annotations

import random

from tools.ports import free_port


def test_processes_with_the_same_seed_choose_different_ports() -> None:
    chosen = []
    for _ in range(2):
        random.seed(1)
        chosen.append([free_port() for _ in range(5)])
    assert chosen[0] != chosen[1]
