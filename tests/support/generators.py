"""Functions whose code runs after their call, which no decorator can enclose."""

from collections.abc import AsyncIterator, Iterator


async def coroutine() -> None: ...


def generator() -> Iterator[None]:
    yield


async def async_generator() -> AsyncIterator[None]:
    yield
