"""Two checkouts in one release. The flag new_checkout selects one."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from flagstaff import flag_enabled
from store.cart import Cart
from store.delivery import DELIVERIES
from store.faults import raise_planted_fault
from store.gateways import current_gateway
from store.models import Order
from store.ordering import place_order


class CheckoutForm(forms.Form):
    name = forms.CharField(max_length=80)
    street = forms.CharField(max_length=100)
    city = forms.CharField(max_length=80)
    delivery = forms.ChoiceField(
        choices=[(name, str(delivery)) for name, delivery in DELIVERIES.items()],
        initial="post",
        widget=forms.RadioSelect,
    )


def checkout(request: HttpRequest) -> HttpResponse:
    """The new checkout is one page. The classic one shows the bill on a second page."""
    if not Cart(request):
        return redirect("cart")
    is_new = flag_enabled("new_checkout", request.user)
    form = CheckoutForm(request.POST or None, initial=sample_address(request))
    if form.is_valid() and (is_new or "confirmed" in request.POST):
        if is_new:
            raise_planted_fault()
        order = place_order(request, form.cleaned_data, "one page" if is_new else "classic")
        return redirect("receipt", order.pk)
    template = "store/checkout_one_page.html" if is_new else "store/checkout_classic.html"
    return render(request, template, {"form": form} | bill(request))


def bill(request: HttpRequest) -> dict[str, Any]:
    """Context of the bill: the cart, the totals, and the payment provider."""
    lines = Cart(request).lines()
    subtotal = sum(line.cents for line in lines)
    bills = [
        {"delivery": name, "cents": delivery.cents, "total": subtotal + delivery.cents}
        for name, delivery in DELIVERIES.items()
    ]
    return {"lines": lines, "bills": bills, "gateway": current_gateway()}


def sample_address(request: HttpRequest) -> dict[str, str]:
    """Initial data, so that the checkouts can be tried without typing."""
    name = request.user.get_full_name() if request.user.is_authenticated else ""
    return {"name": name or "A. Visitor", "street": "Harbour Street 7", "city": "Svolvær"}


def receipt(request: HttpRequest, number: uuid.UUID) -> HttpResponse:
    return render(request, "store/receipt.html", {"order": get_object_or_404(Order, pk=number)})
