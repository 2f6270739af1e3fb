"""A simulation of thousands of workers on one PostgreSQL server, or on several."""
