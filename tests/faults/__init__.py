"""Faults, one file each, injected into a real stack under load; run by `make fault-test`."""
