from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from flagstaff.decorators import flag_required
from store.flag_panel import BETA_REVIEWS, flag_panel_of
from store.models import Product
from store.reviews import reviews_of


def front(request: HttpRequest) -> HttpResponse:
    context = {"flag_panel": flag_panel_of(request.user), "products": Product.objects.all()}
    return render(request, "store/front.html", context)


def product(request: HttpRequest, slug: str) -> HttpResponse:
    context = {"product": get_object_or_404(Product, slug=slug)}
    return render(request, "store/product.html", context)


def reviews_closed(request: HttpRequest, slug: str) -> HttpResponse:
    context = {"product": get_object_or_404(Product, slug=slug)}
    return render(request, "store/reviews_closed.html", context)


@flag_required(BETA_REVIEWS, otherwise=reviews_closed)
def reviews(request: HttpRequest, slug: str) -> HttpResponse:
    context = {"product": get_object_or_404(Product, slug=slug), "reviews": reviews_of(slug)}
    return render(request, "store/reviews.html", context)
