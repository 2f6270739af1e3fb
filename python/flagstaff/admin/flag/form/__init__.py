"""The form of a flag, and the page that confirms it."""
