"""The editor of rules and conditions, and their sentences."""
