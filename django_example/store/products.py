"""The products. They are in code, because the example is about the flags around them."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import Http404


@dataclass(frozen=True)
class Product:
    #: Also the name of the drawing in `static/store/art.svg`.
    slug: str
    name: str
    cents: int
    blurb: str


PRODUCTS = (
    Product("pennant", "Harbour pennant", 2400, "Long, red, and visible from all over the bay."),
    Product("lantern", "Signal lantern", 8900, "On is on, off is off, visible to all."),
    Product("windsock", "Windsock", 2950, "Knows what is changing before you feel it."),
    Product("bell", "Watch bell", 6400, "Rings once, and the whole crew knows."),
)
BY_SLUG = {product.slug: product for product in PRODUCTS}


def product_or_404(slug: str) -> Product:
    if slug not in BY_SLUG:
        raise Http404(f"there is no product {slug}")
    return BY_SLUG[slug]
