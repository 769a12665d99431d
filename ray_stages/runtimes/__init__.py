"""Computes a network with the fastest runtime of this machine.

`network.py` describes what to compute, and `choice.py` chooses what computes it. Each runtime is
one module with the names of `catalog.RuntimeModule`.
"""
