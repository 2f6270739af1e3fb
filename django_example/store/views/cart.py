from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from store.cart import Cart
from store.products import product_or_404


def show(request: HttpRequest) -> HttpResponse:
    return render(request, "store/cart.html", {"lines": Cart(request).lines()})


@require_POST
def add(request: HttpRequest, slug: str) -> HttpResponse:
    product = product_or_404(slug)
    Cart(request).add(product)
    messages.success(request, f"{product.name} is in your cart.")
    return redirect("cart")


@require_POST
def change(request: HttpRequest, slug: str) -> HttpResponse:
    quantity = request.POST.get("quantity", "")
    product = product_or_404(slug)
    Cart(request).put(product, int(quantity) if quantity.isdecimal() else 0)
    return redirect("cart")
