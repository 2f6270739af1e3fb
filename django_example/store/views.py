"""The pages of the shop. The flag new_checkout selects one of two checkouts in one release."""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from store.cart import Cart
from store.customers import log_in_as
from store.flags import BETA_REVIEWS, CHECKOUT_FAULT_PERCENT, NEW_CHECKOUT, SUMMER_BANNER
from store.gateways import current_gateway
from store.models import Order
from store.products import PRODUCTS, product_or_404

# `make demo` builds it from store/front_end/main.js, if npm is there.
SCRIPT = "store/front_end.built.js"
POLL_SECONDS = 2
# The flags of the page "Front end". The last one is not for browsers.
SHOWN = {
    str(NEW_CHECKOUT): "Checkout on one page instead of two",
    str(SUMMER_BANNER): "The summer banner on top of every page",
    str(BETA_REVIEWS): "Customer reviews on the product pages",
}


class PlantedError(Exception):
    """The new checkout fails, because the value checkout_fault_percent says so."""


class CheckoutForm(forms.Form):
    name = forms.CharField(max_length=80)
    street = forms.CharField(max_length=100)
    city = forms.CharField(max_length=80)


def front(request: HttpRequest) -> HttpResponse:
    return render(request, "store/front.html", {"products": PRODUCTS})


def product(request: HttpRequest, slug: str) -> HttpResponse:
    return render(request, "store/product.html", {"product": product_or_404(slug)})


def cart(request: HttpRequest) -> HttpResponse:
    return render(request, "store/cart.html", {"lines": Cart(request).lines()})


@require_POST
def add_to_cart(request: HttpRequest, slug: str) -> HttpResponse:
    added = product_or_404(slug)
    Cart(request).add(added)
    messages.success(request, f"{added.name} is in your cart.")
    return redirect("cart")


@require_POST
def remove_from_cart(request: HttpRequest, slug: str) -> HttpResponse:
    Cart(request).remove(product_or_404(slug))
    return redirect("cart")


def checkout(request: HttpRequest) -> HttpResponse:
    """The new checkout is one page. The classic one shows the bill on a second page."""
    if not Cart(request):
        return redirect("cart")
    is_new = NEW_CHECKOUT.enabled(request.user)
    form = CheckoutForm(request.POST or None, initial=sample_address(request))
    if form.is_valid() and (is_new or "confirmed" in request.POST):
        if is_new:
            raise_planted_fault()
        order = place_order(request, form.cleaned_data, "one page" if is_new else "classic")
        return redirect("receipt", order.pk)
    template = "store/checkout_one_page.html" if is_new else "store/checkout_classic.html"
    return render(request, template, {"form": form, "gateway": current_gateway()})


def sample_address(request: HttpRequest) -> dict[str, str]:
    """Initial data, so that the checkouts can be tried without typing."""
    name = request.user.get_full_name() if request.user.is_authenticated else ""
    return {"name": name or "A. Visitor", "street": "Harbour Street 7", "city": "Svolvær"}


def raise_planted_fault() -> None:
    """Raises PlantedError for the share of calls that the value gives."""
    if random.random() * 100 < CHECKOUT_FAULT_PERCENT.get():  # noqa: S311 (a demo)
        raise PlantedError


def place_order(request: HttpRequest, data: Mapping[str, Any], checkout: str) -> Order:
    """Creates a paid order from the cart and the data of a checkout."""
    cart = Cart(request)
    order = Order.objects.create(
        customer=request.user if request.user.is_authenticated else None,
        name=data["name"],
        address=f"{data['street']}, {data['city']}",
        lines=[{"text": str(line), "cents": line.cents} for line in cart.lines()],
        cents=cart.cents(),
        gateway=current_gateway(),
        checkout=checkout,
    )
    cart.clear()
    return order


def receipt(request: HttpRequest, number: uuid.UUID) -> HttpResponse:
    return render(request, "store/receipt.html", {"order": get_object_or_404(Order, pk=number)})


def front_end(request: HttpRequest) -> HttpResponse:
    """A page whose script evaluates flags by OFREP."""
    context = {
        "script": SCRIPT if finders.find(SCRIPT) else None,
        "poll_seconds": POLL_SECONDS,
        "poll_milliseconds": POLL_SECONDS * 1000,
        "flags": SHOWN,
    }
    return render(request, "store/front_end.html", context)


@require_POST
def switch_user(request: HttpRequest) -> HttpResponse:
    log_in_as(request, request.POST.get("username", ""))
    target = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(target, allowed_hosts={request.get_host()})
    return redirect(target if safe else "front")
