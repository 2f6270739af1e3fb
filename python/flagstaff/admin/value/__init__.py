"""The list and the page of values."""
