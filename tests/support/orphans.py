"""The descriptors of a process, also of a child that replaces those of its parent."""

import os
from contextlib import suppress
from pathlib import Path

# More than a worker has open.
MANY = 256


def replace_descriptors() -> list[int]:
    """Closes everything that the parent has opened, as daemons do, and opens files instead."""
    os.closerange(3, MANY)
    return [os.open(os.devnull, os.O_RDONLY) for _ in range(3, MANY)]


def still_open(descriptors: list[int]) -> list[int]:
    """The descriptors that are still those of these files."""
    device, still_there = Path(os.devnull).stat().st_rdev, []
    for descriptor in descriptors:
        with suppress(OSError):
            still_there += [descriptor] if os.fstat(descriptor).st_rdev == device else []
    return still_there


def resources(pid: int | str = "self") -> tuple[int, int]:
    """The numbers of threads and of open descriptors of a process."""
    threads, descriptors = (Path(f"/proc/{pid}", name).iterdir() for name in ("task", "fd"))
    return len(list(threads)), len(list(descriptors))


def open_sockets() -> list[str]:
    """The sockets that the process has open."""
    links = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            links.append(str(descriptor.readlink()))
    return [link for link in links if link.startswith("socket:")]
