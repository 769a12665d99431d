"""Hostile input for a real stack, and a soak: `make fuzz`, `make soak`; not part of `make test`."""
