"""Rewrites the places in the code that use waffle: to compat's names, or to flagstaff's."""
