from __future__ import annotations

from dataclasses import dataclass

from store.money import money


@dataclass(frozen=True)
class Delivery:
    label: str
    cents: int

    def __str__(self) -> str:
        return f"{self.label}, {money(self.cents)}"


DELIVERIES = {
    "post": Delivery("By post in three days", 490),
    "courier": Delivery("By courier tomorrow", 1290),
}
