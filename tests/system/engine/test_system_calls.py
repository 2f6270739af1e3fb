"""An evaluation from memory makes no system call."""

import sys

import pytest

from tests.conftest import RunIsolated
from tools.limits import SERVER, seconds

# The child gives up all system calls but read and write (prctl(2), PR_SET_SECCOMP): another one
# ends its thread. Every thousandth evaluation runs the maintenance, which asks for the process id.
SCRIPT = """
import ctypes, os, select, signal, sys
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    import django
    django.setup()
    from flagstaff import flag_enabled, get_value, ready
    from flagstaff._engine import lifecycle
    assert ready(30)
    prctl, maintained, report = ctypes.CDLL(None).prctl, [], lifecycle._report
    lifecycle._report = lambda: maintained.append(True) or report()
    while not maintained:
        results = flag_enabled("new_checkout", 3), get_value("gateway"), flag_enabled("missing")
    assert prctl(22, 1, 0, 0, 0) == 0
    os.write(writing, b"begun ")
    for _ in range(300):
        flag_enabled("new_checkout", 3), get_value("gateway"), flag_enabled("missing")
    os.write(writing, repr(results).encode())
os.close(writing)
print(os.read(reading, 6).decode())
# A thread that was ended leaves the pipe open.
ended = select.select([reading], [], [], float(sys.argv[1]))[0]
print(os.read(reading, 99).decode() if ended else "a system call")
os.kill(child, signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can refuse system calls")
def test_evaluation_makes_no_system_call(database: str, run_isolated: RunIsolated) -> None:
    printed = run_isolated(SCRIPT, str(seconds(SERVER / 10)), DATABASE_URL=database)
    assert printed == "begun \n(True, 'stripe', False)\n"
