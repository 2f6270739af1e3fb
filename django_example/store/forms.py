"""The forms of both checkouts: one per page in the classic one, all in one in the new one."""

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
    """All fields of the classic checkout in one form."""

    field_order = ("name", "street", "city", "delivery")
