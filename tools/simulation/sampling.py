"""What all simulations share: their random numbers, all cores, and the bound of a share."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, TypeVar

import django
import numpy as np
from scipy.stats import beta

__all__ = ["between", "generator", "is_above", "is_below", "run_all", "share_bound"]

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.support.settings")

_T = TypeVar("_T")
_ALPHA = 0.01


def generator(name: str, number: int = 0) -> np.random.Generator:
    """Returns random numbers: the same ones for the same name and number."""
    return np.random.default_rng([zlib.crc32(name.encode()), number])


def between(source: np.random.Generator, limits: tuple[float, float]) -> float:
    """Returns a log-uniform number between two limits."""
    low, high = limits
    return math.exp(source.uniform(math.log(low), math.log(high)))


def run_all(run: Callable[..., _T], arguments: Iterable[tuple[Any, ...]]) -> list[_T]:
    """Returns the results of all calls, in order. Uses all cores."""
    with ProcessPoolExecutor(os.cpu_count(), initializer=django.setup) as pool:
        return list(pool.map(partial(_call, run), arguments, chunksize=5))


def _call(run: Callable[..., _T], arguments: tuple[Any, ...]) -> _T:
    return run(*arguments)


def share_bound(hits: int, number: int) -> float:
    """Returns the upper 99 % bound of Clopper and Pearson (1934) of a share."""
    return 1.0 if hits >= number else float(beta.ppf(1 - _ALPHA, hits + 1, number - hits))


def is_below(hits: int, number: int, share: float) -> bool:
    """Returns whether a share is certainly smaller: its upper 99 % bound is below.

    So no part of a simulation fails by chance, however few of its runs are simulated.
    """
    return share_bound(hits, number) < share


def is_above(hits: int, number: int, share: float) -> bool:
    """Returns whether a share is certainly larger: its lower 99 % bound is above."""
    return is_below(number - hits, number, 1 - share)
