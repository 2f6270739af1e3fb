"""Two checkouts in one release. The flag new_checkout selects one."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render

from flagstaff import flag_enabled
from store.cart import Cart
from store.delivery import DELIVERIES
from store.faults import raise_planted_fault
from store.forms import AddressForm, DeliveryForm, OnePageForm
from store.gateways import current_gateway
from store.models import Order
from store.ordering import place_order

SESSION_KEY = "checkout"
STEPS = ("address", "delivery", "payment")
STEP_FORMS: dict[str, type[forms.Form]] = {
    "address": AddressForm,
    "delivery": DeliveryForm,
    "payment": forms.Form,  # no fields, only a confirmation
}


def checkout(request: HttpRequest) -> HttpResponse:
    if not Cart(request):
        return redirect("cart")
    if flag_enabled("new_checkout", request.user):
        return one_page(request)
    return redirect("checkout-step", step=STEPS[0])


def one_page(request: HttpRequest) -> HttpResponse:
    form = OnePageForm(posted(request), initial=sample_address(request))
    if form.is_valid():
        raise_planted_fault()
        return redirect("receipt", place_order(request, form.cleaned_data, "one page").pk)
    return render(request, "store/checkout_one_page.html", {"form": form} | bill(request))


def step(request: HttpRequest, step: str) -> HttpResponse:
    """A page of the classic checkout. Works after a change of the flag too, to finish an order."""
    # A rollout plan counts only requests that evaluate the flag.
    flag_enabled("new_checkout", request.user)
    if not Cart(request):
        return redirect("cart")
    data = request.session.get(SESSION_KEY, {})
    if step == "payment" and not {"name", "delivery"} <= data.keys():
        return redirect("checkout-step", step=STEPS[0])
    form = STEP_FORMS[step](posted(request), initial=sample_address(request) | data)
    if form.is_valid():
        return next_step(request, step, data | form.cleaned_data)
    context = {"form": form, "step": step, "steps": STEPS, "data": data}
    return render(request, "store/checkout_classic.html", context | bill(request))


def next_step(request: HttpRequest, step: str, data: dict[str, Any]) -> HttpResponse:
    if step == STEPS[-1]:
        request.session.pop(SESSION_KEY, None)
        return redirect("receipt", place_order(request, data, "classic").pk)
    request.session[SESSION_KEY] = data
    return redirect("checkout-step", step=STEPS[STEPS.index(step) + 1])


def posted(request: HttpRequest) -> QueryDict | None:
    return request.POST if request.method == "POST" else None


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
