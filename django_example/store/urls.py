from __future__ import annotations

from django.urls import path

from store.views import account, cart, catalogue, checkout, front_end

urlpatterns = [
    path("", catalogue.front, name="front"),
    path("things/<slug:slug>/", catalogue.product, name="product"),
    path("things/<slug:slug>/reviews/", catalogue.reviews, name="reviews"),
    path("cart/", cart.show, name="cart"),
    path("cart/add/<slug:slug>/", cart.add, name="cart-add"),
    path("cart/change/<slug:slug>/", cart.change, name="cart-change"),
    path("checkout/", checkout.checkout, name="checkout"),
    path("receipt/<uuid:number>/", checkout.receipt, name="receipt"),
    path("front-end/", front_end.show, name="front-end"),
    path("switch-user/", account.switch_user, name="switch-user"),
]
