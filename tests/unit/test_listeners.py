"""Listeners in a forked child."""

from tests.conftest import RunIsolated

FORK = """
import os
from flagstaff import flag_enabled, listeners
from flagstaff.testing import override_flag

seen = []
listeners.add(lambda evaluation: seen.append(evaluation.key))
with override_flag("banner", True):
    child = os.fork()
    if child == 0:
        flag_enabled("banner")
        listeners.add(lambda evaluation: seen.append(evaluation.key))
        flag_enabled("banner")
        os._exit(len(seen))
    _, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), len(seen))
"""


def test_forked_child_calls_the_listeners_of_its_parent_and_its_own(
    run_isolated: RunIsolated,
) -> None:
    assert run_isolated(FORK) == "3 0\n"


OVERRIDES = """
from flagstaff import flag_enabled
from flagstaff._engine import lifecycle
from flagstaff.testing import override_flag

lifecycle.fork_hooks.append(lambda: print("forked"))
with override_flag("banner", True):
    for _ in range(2_000):
        flag_enabled("banner")
print("done")
"""


def test_process_that_evaluates_only_overrides_is_not_taken_for_a_forked_child(
    run_isolated: RunIsolated,
) -> None:
    assert run_isolated(OVERRIDES) == "done\n"
