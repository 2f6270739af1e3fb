"""The list and the page of segments."""
