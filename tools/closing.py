"""What is started, and has to be closed again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeVar

from typing_extensions import Self

C = TypeVar("C", bound="Closing")


class Closing(ABC):
    """As a context manager it starts and, at the end, closes; also where it could not start."""

    @abstractmethod
    def start(self) -> None:
        """Return when it is there."""

    @abstractmethod
    def close(self) -> None:
        """Leave nothing behind."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
