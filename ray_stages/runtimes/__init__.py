"""A network on the fastest runtime at hand.

`network.py` says what is to be computed, `choice.py` by what; each runtime is one module with the
same three names: NAME and NEEDS, `precisions`, `open_network`.
"""
