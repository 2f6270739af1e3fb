"""Sample reviews. They are in code because the example is about the flag around them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Review:
    author: str
    stars: int
    text: str

    @property
    def as_stars(self) -> str:
        return "★" * self.stars + "☆" * (5 - self.stars)


REVIEWS = (
    Review("Ingrid", 5, "Went up the mast on the first try and has not come down since."),
    Review("Tomasz", 4, "Bright enough to be seen from the harbour office. They waved back."),
    Review("Noor", 5, "Bought one for the boat, then one for the balcony."),
    Review("Emile", 3, "Good cloth. My cat disagrees about the rope."),
    Review("Sunniva", 5, "Survived a gale that the neighbour's did not."),
)


def reviews_of(slug: str) -> list[Review]:
    """Returns three reviews, always the same ones for a product."""
    start = sum(slug.encode()) % len(REVIEWS)
    return [REVIEWS[(start + step) % len(REVIEWS)] for step in range(3)]
