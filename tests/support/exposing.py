"""Units that meet the variants of an experiment, in a worker ("call")."""

import os
import random
import resource
import struct
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from flagstaff import experiments
from flagstaff.experiments.measuring import count
from flagstaff.experiments.rows import find

KEY = "checkout_button"
#: The calls between two pauses.
BATCH = 100
_BATCH_FORMAT = struct.Struct(f"<d{BATCH}I")

_drawn: dict[int, Iterator[int]] = {}


def create_running() -> None:
    """Creates and starts the experiment."""
    experiments.create(KEY)
    experiments.start(KEY)


def figures() -> dict[str, Any]:
    """What a report says of the exposures."""
    counted = count(find(KEY))
    return {
        "units": sum(counted["units"].values()),
        "lost": counted["lost"],
        "lost_workers": counted["workers_without_last_report"],
    }


def meet(first: int, end: int) -> None:
    """Gives each unit from `first` to before `end` its variant."""
    for unit in range(first, end):
        experiments.get_variant(KEY, unit)


def meet_while_measured(first: int, end: int) -> tuple[float, int]:
    """The same. Returns the seconds of the longest call, and the voluntary context switches.

    A thread switches voluntarily when it waits for a lock, a socket or the interpreter.
    """
    longest = 0.0
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    for unit in range(first, end):
        started = time.perf_counter()
        experiments.get_variant(KEY, unit)
        longest = max(longest, time.perf_counter() - started)
    return longest, resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before


def drawn(seed: int, first: int, end: int) -> Iterator[int]:
    """The same units from this range for the same seed, without an end."""
    rng = random.Random(seed)
    while True:
        yield rng.randrange(first, end)


def meet_drawn(seed: int, first: int, end: int, calls: int) -> None:
    """Gives the next units that are drawn their variants, with pauses."""
    units = _drawn.setdefault(seed, drawn(seed, first, end))
    for _ in range(calls // BATCH):
        for unit in islice(units, BATCH):
            experiments.get_variant(KEY, unit)
        _pause(0.001)


def meet_until_killed(seed: int, first: int, end: int, path: str) -> None:
    """The same in a thread without an end. The file keeps which units have met their variant."""
    threading.Thread(target=_meet_and_record, args=[seed, first, end, path], daemon=True).start()


def _meet_and_record(seed: int, first: int, end: int, path: str) -> None:
    units = drawn(seed, first, end)
    record = os.open(path, os.O_WRONLY | os.O_CREAT)
    while True:
        batch = list(islice(units, BATCH))
        for unit in batch:
            experiments.get_variant(KEY, unit)
        os.write(record, _BATCH_FORMAT.pack(time.time(), *batch))
        _pause(0.01)


def read_record(path: Path) -> list[tuple[float, tuple[int, ...]]]:
    """The batches of units of `meet_until_killed`, each with the Unix time of its end."""
    content = path.read_bytes()
    whole = content[: len(content) // _BATCH_FORMAT.size * _BATCH_FORMAT.size]
    return [(at, tuple(units)) for at, *units in _BATCH_FORMAT.iter_unpack(whole)]


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)
