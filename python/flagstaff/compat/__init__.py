"""The way from django-waffle: import, shadow, serve, mirror, and its names for your code."""
