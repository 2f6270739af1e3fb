"""A base class for resources that are started and closed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeVar

from typing_extensions import Self

C = TypeVar("C", bound="Closing")


class Closing(ABC):
    """A context manager that starts a resource and closes it, also after a failed start."""

    @abstractmethod
    def start(self) -> None:
        """Starts the resource, and returns when it is ready."""

    @abstractmethod
    def close(self) -> None:
        """Releases everything."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
