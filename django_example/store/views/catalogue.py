from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from flagstaff.decorators import flag_required
from store.models import Product
from store.reviews import reviews_of
from store.standing import BETA_REVIEWS, standing_of


def front(request: HttpRequest) -> HttpResponse:
    desk = standing_of(request.user)
    return render(request, "store/front.html", {"desk": desk, "products": Product.objects.all()})


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
