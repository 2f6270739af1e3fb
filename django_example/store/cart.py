"""The cart in the session: a mapping of product slugs to quantities."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest

from store.products import BY_SLUG, Product

SESSION_KEY = "cart"


@dataclass(frozen=True)
class Line:
    product: Product
    quantity: int

    def __str__(self) -> str:
        return f"{self.quantity} × {self.product.name}"  # noqa: RUF001 (a multiplication sign)

    @property
    def cents(self) -> int:
        return self.product.cents * self.quantity


class Cart:
    def __init__(self, request: HttpRequest) -> None:
        self._session = request.session
        self._quantities: dict[str, int] = dict(request.session.get(SESSION_KEY, {}))

    def __len__(self) -> int:
        return sum(self._quantities.values())

    def add(self, product: Product) -> None:
        quantity = self._quantities.get(product.slug, 0) + 1
        self._quantities[product.slug] = quantity
        self._session[SESSION_KEY] = self._quantities

    def remove(self, product: Product) -> None:
        self._quantities.pop(product.slug, None)
        self._session[SESSION_KEY] = self._quantities

    def clear(self) -> None:
        self._quantities = {}
        self._session.pop(SESSION_KEY, None)

    def lines(self) -> list[Line]:
        return [
            Line(BY_SLUG[slug], quantity)
            for slug, quantity in self._quantities.items()
            if slug in BY_SLUG
        ]

    def cents(self) -> int:
        return sum(line.cents for line in self.lines())
