"""The questions of a checkout. The classic one asks them page by page, the new one all at once."""

from __future__ import annotations

from django import forms

from store.delivery import DELIVERIES


class AddressForm(forms.Form):
    name = forms.CharField(max_length=80)
    street = forms.CharField(max_length=100)
    city = forms.CharField(max_length=80)


class DeliveryForm(forms.Form):
    delivery = forms.ChoiceField(
        choices=[(name, str(delivery)) for name, delivery in DELIVERIES.items()],
        initial="post",
        widget=forms.RadioSelect,
    )


class OnePageForm(DeliveryForm, AddressForm):
    """Everything that the classic checkout asks, in one form."""

    field_order = ("name", "street", "city", "delivery")
