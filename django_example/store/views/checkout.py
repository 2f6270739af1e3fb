"""Two checkouts in one release. The flag decides which one a visitor walks through."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render

from flagstaff import flag_enabled
from store.cart import Cart
from store.delivery import DELIVERIES
from store.forms import AddressForm, DeliveryForm, OnePageForm
from store.gateways import chosen_gateway
from store.models import Order
from store.ordering import place_order

SESSION_KEY = "checkout"
STEPS = ("address", "delivery", "payment")
STEP_FORMS: dict[str, type[forms.Form]] = {
    "address": AddressForm,
    "delivery": DeliveryForm,
    "payment": forms.Form,  # nothing left to ask, only to confirm
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
        return redirect("receipt", place_order(request, form.cleaned_data, "one page").pk)
    return render(request, "store/checkout_one_page.html", {"form": form} | bill(request))


def step(request: HttpRequest, step: str) -> HttpResponse:
    """A page of the classic checkout. It stays open to whoever is in it when the flag turns."""
    if not Cart(request):
        return redirect("cart")
    answers = request.session.get(SESSION_KEY, {})
    if step == "payment" and not {"name", "delivery"} <= answers.keys():
        return redirect("checkout-step", step=STEPS[0])
    form = STEP_FORMS[step](posted(request), initial=sample_address(request) | answers)
    if form.is_valid():
        return after(request, step, answers | form.cleaned_data)
    context = {"form": form, "step": step, "steps": STEPS, "answers": answers}
    return render(request, "store/checkout_classic.html", context | bill(request))


def after(request: HttpRequest, step: str, answers: dict[str, Any]) -> HttpResponse:
    if step == STEPS[-1]:
        request.session.pop(SESSION_KEY, None)
        return redirect("receipt", place_order(request, answers, "classic").pk)
    request.session[SESSION_KEY] = answers
    return redirect("checkout-step", step=STEPS[STEPS.index(step) + 1])


def posted(request: HttpRequest) -> QueryDict | None:
    return request.POST if request.method == "POST" else None


def bill(request: HttpRequest) -> dict[str, Any]:
    """What stands beside either checkout: the cart, the totals, and who takes the money."""
    lines = Cart(request).lines()
    goods = sum(line.cents for line in lines)
    bills = [
        {"delivery": name, "cents": delivery.cents, "total": goods + delivery.cents}
        for name, delivery in DELIVERIES.items()
    ]
    return {"lines": lines, "bills": bills, "gateway": chosen_gateway()}


def sample_address(request: HttpRequest) -> dict[str, str]:
    """Filled in, so that trying the two checkouts needs no typing."""
    name = request.user.get_full_name() if request.user.is_authenticated else ""
    return {"name": name or "A. Visitor", "street": "Harbour Street 7", "city": "Svolvær"}


def receipt(request: HttpRequest, number: uuid.UUID) -> HttpResponse:
    return render(request, "store/receipt.html", {"order": get_object_or_404(Order, pk=number)})
