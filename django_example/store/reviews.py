"""A few words from customers. They live in code because only the flag around them matters here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Review:
    author: str
    stars: int
    text: str

    @property
    def drawn(self) -> str:
        return "★" * self.stars + "☆" * (5 - self.stars)


REVIEWS = (
    Review("Ingrid", 5, "Went up the mast on the first try and has not come down since."),
    Review("Tomasz", 4, "Bright enough to be seen from the harbour office. They waved back."),
    Review("Noor", 5, "Bought one for the boat, then one for the balcony."),
    Review("Emile", 3, "Good cloth. My cat disagrees about the rope."),
    Review("Sunniva", 5, "Survived a gale that the neighbour's did not."),
)


def reviews_of(slug: str) -> list[Review]:
    """Three of them, chosen by the name of the product so that they stay where they are."""
    start = sum(slug.encode()) % len(REVIEWS)
    return [REVIEWS[(start + step) % len(REVIEWS)] for step in range(3)]
