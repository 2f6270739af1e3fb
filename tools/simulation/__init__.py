"""Simulates rollout plans, to measure false trips and how soon harm is found: `make sim`."""
