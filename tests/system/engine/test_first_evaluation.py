"""The first evaluation of a process, and how it can fail."""

import pytest

from tests.conftest import RunIsolated
from tests.support.buckets import bucket_of
from tests.support.fixtures import OpenToAll

START = """
import os, signal, sys, threading, time
import django
django.setup()
from flagstaff import _core, flag_enabled, explain, status
from flagstaff._engine import lifecycle
from contextlib import suppress
from pathlib import Path
def engines():
    names = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):
            names.append((task / "comm").read_text().strip())
    return names.count("flagstaff")
"""
# What a process prints, by what its script does.
SCRIPTS = {
    "interrupted wait leaves one engine": (
        """
def interrupted(seconds):
    raise KeyboardInterrupt
sleep, time.sleep = time.sleep, interrupted
for _ in range(4):
    try:
        flag_enabled("new_checkout")
    except KeyboardInterrupt:
        pass
time.sleep = sleep
print(flag_enabled("new_checkout"), engines())
""",
        "True 1\n",
    ),
    "evaluation in a signal handler during the wait returns a result": (
        """
results = []
sleep = time.sleep
def sleep_with_signal(seconds):
    time.sleep = sleep
    signal.raise_signal(signal.SIGUSR1)
signal.signal(signal.SIGUSR1, lambda *_: results.append(flag_enabled("new_checkout")))
time.sleep = sleep_with_signal
print(flag_enabled("new_checkout"), results, engines())
""",
        "True [True] 1\n",
    ),
    "mail in memory is no set-up of tests": (
        """
import django.test.utils
from django.conf import settings
from django.core.mail import send_mail
settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
send_mail("subject", "text", "from@example.com", ["to@example.com"])
print(flag_enabled("new_checkout"), engines())
""",
        "True 1\n",
    ),
    "set-up of tests evaluates directly": (
        """
from django.test.utils import setup_test_environment
setup_test_environment()
print(flag_enabled("new_checkout"), engines(), status().mode)
""",
        "True 0 direct\n",
    ),
    "evaluation in a router returns the default": (
        """
from django.db import router
from types import SimpleNamespace
results = []
def db_for_write(model, **hints):
    results.append(flag_enabled("new_checkout"))
    return "default"
router.routers = [SimpleNamespace(db_for_write=db_for_write)]
print(flag_enabled("new_checkout"), results[0])
""",
        "True False\n",
    ),
    "first evaluations in many threads start one engine": (
        """
barrier, results = threading.Barrier(8), []
def evaluate():
    barrier.wait()
    results.append(flag_enabled("new_checkout"))
threads = [threading.Thread(target=evaluate) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(all(results), len(results), engines(), _core.start(in_memory=True), engines())
""",
        "True 8 1 True 1\n",
    ),
    "first evaluation reads the options once": (
        """
calls = []
hooks = ("decode", "log_late_start", "read_options", "report_unknown_key")
def count(frame, event, argument):
    module = frame.f_globals.get("__name__")
    if event == "call" and frame.f_code.co_name in hooks and module == lifecycle.__name__:
        calls.append(frame.f_code.co_name)
sys.setprofile(count)
results = [flag_enabled("new_checkout") for _ in range(2)]
sys.setprofile(None)
print(*results, calls)
""",
        "True True ['read_options']\n",
    ),
    "evaluation at process exit uses the last snapshot": (
        """
import atexit
class Late:
    def __del__(self, evaluate=flag_enabled, out=os.write):
        out(1, str(evaluate("new_checkout")).encode())
atexit.unregister(_core.shutdown)
atexit.register(lambda: print(flag_enabled("new_checkout"), flush=True))
atexit.register(_core.shutdown, 1.0)
flag_enabled("new_checkout")
sys.late = Late()
""",
        "True\nTrue",
    ),
    "start imports none of its modules, for which a forked child would wait": (
        """
before = {*sys.modules}
_core.start(wait=False)
print([name for name in sys.modules if name.startswith("flagstaff") and name not in before])
""",
        "[]\n",
    ),
    "lazy object that wraps itself raises": (
        """
from django.utils.functional import SimpleLazyObject
endless = SimpleLazyObject(lambda: endless)
try:
    explain("new_checkout", endless)
except RecursionError as error:
    print(error)
""",
        "user is a lazy object that wraps lazy objects without an end\n",
    ),
}


@pytest.mark.parametrize(("script", "printed"), SCRIPTS.values(), ids=SCRIPTS)
def test_first_evaluation_of_a_process_works(
    script: str, printed: str, database: str, open_to_all: OpenToAll, run_isolated: RunIsolated
) -> None:
    open_to_all()
    assert run_isolated(START + script, DATABASE_URL=database) == printed


# A process classifies a type once, at the first object of that type.
STUB = """
import uuid, django
django.setup()
from django.contrib.auth.models import User
from django.test.utils import setup_test_environment
from django.utils.functional import SimpleLazyObject
from flagstaff import explain, flag_enabled
from flagstaff._engine import direct
setup_test_environment()
row = (True, 50)
direct.select = lambda segments, flags, *others: [
    [], [(1, *flags[1], *row, False, None, None)], *([] for _ in others)
]
"""


def test_first_lazy_user_of_a_process_is_not_read(run_isolated: RunIsolated) -> None:
    evaluation = "flag_enabled('new_checkout', SimpleLazyObject(lambda: 1 / 0))"
    run_isolated(f"{STUB}\nrow = (False, 50)\n{evaluation}")


@pytest.mark.parametrize("first", ["uuid.UUID(int=1)", "42", "'alice'", "None"])
def test_content_of_the_first_lazy_object_does_not_affect_the_next(
    run_isolated: RunIsolated, first: str
) -> None:
    first_evaluation, evaluation = (
        f"explain('new_checkout', SimpleLazyObject(lambda: {held})).bucket"
        for held in (first, "User(pk=42)")
    )
    bucket = bucket_of("new_checkout", 42)
    assert run_isolated(f"{STUB}\n{first_evaluation}\nprint({evaluation})") == f"{bucket}\n"
