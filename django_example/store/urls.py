from __future__ import annotations

from django.urls import path

from store import views

urlpatterns = [
    path("", views.front, name="front"),
    path("things/<slug:slug>/", views.product, name="product"),
    path("cart/", views.cart, name="cart"),
    path("cart/add/<slug:slug>/", views.add_to_cart, name="cart-add"),
    path("cart/remove/<slug:slug>/", views.remove_from_cart, name="cart-remove"),
    path("checkout/", views.checkout, name="checkout"),
    path("receipt/<uuid:number>/", views.receipt, name="receipt"),
    path("front-end/", views.front_end, name="front-end"),
    path("switch-user/", views.switch_user, name="switch-user"),
]
