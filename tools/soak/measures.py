"""The memory, threads and files of a worker, and their growth."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

HOUR = 3_600
MEGABYTE = 1_000_000
# Memory may still grow in the first third of a run: caches fill, and the allocator finds its size.
WARM_UP = 1 / 3
# Seconds. A shorter run is too short for a figure per hour.
MIN_DURATION = 600


@dataclass
class Worker:
    """The figures of one process, measured while idle."""

    pid: int
    measured_at: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def measure(self, now: float) -> None:
        """Records the present figures."""
        process = Path("/proc") / str(self.pid)
        pages = int((process / "statm").read_text().split()[1])
        self.measured_at.append(now)
        self.memory.append(pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE)
        self.threads.append(len(list((process / "task").iterdir())))
        self.files.append(len(list((process / "fd").iterdir())))

    @property
    def growth(self) -> float | None:
        """Megabytes per hour after the warm-up: the median of all slopes, robust to outliers.

        None if the run was too short.
        """
        if self.measured_at[-1] - self.measured_at[0] < MIN_DURATION:
            return None
        warm = int(len(self.measured_at) * WARM_UP)
        points = list(zip(self.measured_at[warm:], self.memory[warm:], strict=True))
        slopes = [
            (later[1] - earlier[1]) / (later[0] - earlier[0])
            for place, earlier in enumerate(points)
            for later in points[place + 1 :]
        ]
        return HOUR * median(slopes)
