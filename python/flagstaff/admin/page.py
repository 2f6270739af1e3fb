"""What one request has read and decided, for everything that its page shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.http import HttpRequest

_Value = TypeVar("_Value")

# The attribute of a request and of the rows that its page shows. Set and read only here.
_PAGE = "flagstaff_page"


@dataclass(eq=False)
class Page:
    """The context of one request."""

    request: HttpRequest
    _kept: dict[type, object] = field(default_factory=dict)

    def once(self, kind: type[_Value], read: Callable[[], _Value]) -> _Value:
        """Returns the object of a type that belongs to this page. Reads it once."""
        found = self.kept(kind)
        if found is None:
            found = read()
            self.keep(found)
        return found

    def kept(self, kind: type[_Value]) -> _Value | None:
        """Returns the object of a type if it was read or kept before."""
        found = self._kept.get(kind)
        return found if isinstance(found, kind) else None

    def keep(self, value: object) -> None:
        """Keeps an object for the rest of the request."""
        self._kept[type(value)] = value

    def show(self, rows: Iterable[Any]) -> None:
        """Lets `page_of_row` find this page from rows that it shows."""
        for row in rows:
            setattr(row, _PAGE, self)


def page_of(request: HttpRequest) -> Page:
    """Returns the page of a request."""
    page: Page | None = getattr(request, _PAGE, None)
    if page is None:
        page = Page(request)
        setattr(request, _PAGE, page)
    return page


def page_of_row(row: Any) -> Page | None:
    """Returns the page that shows a row; None for a row that no page has read."""
    page: Page | None = getattr(row, _PAGE, None)
    return page
