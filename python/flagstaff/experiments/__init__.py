"""Experiments: variants, exposures, metrics and their statistics."""
