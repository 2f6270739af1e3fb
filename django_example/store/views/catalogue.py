from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from flagstaff.decorators import flag_required
from store.flag_panel import BETA_REVIEWS, flag_panel_of
from store.products import PRODUCTS, product_or_404


def front(request: HttpRequest) -> HttpResponse:
    context = {"flag_panel": flag_panel_of(request.user), "products": PRODUCTS}
    return render(request, "store/front.html", context)


def product(request: HttpRequest, slug: str) -> HttpResponse:
    return render(request, "store/product.html", {"product": product_or_404(slug)})


def reviews_closed(request: HttpRequest, slug: str) -> HttpResponse:
    return render(request, "store/reviews_closed.html", {"product": product_or_404(slug)})


@flag_required(BETA_REVIEWS, otherwise=reviews_closed)
def reviews(request: HttpRequest, slug: str) -> HttpResponse:
    return render(request, "store/reviews.html", {"product": product_or_404(slug)})
