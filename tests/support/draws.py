"""Drawn visitors: a test of both results draws until it has them."""

from collections.abc import Collection, Iterator

_MOST = 100


def draws(seen: Collection[object]) -> Iterator[None]:
    """Yields until two results were seen. Two equally likely ones are missed once in 2**99 runs."""
    for _ in range(_MOST):
        if len(seen) == 2:
            return
        yield
