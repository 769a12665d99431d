"""Every runtime in every precision on this machine: how fast, how large, how right.

Each candidate computes in a process of its own (`child.py`, `work.py`); `stages.py`, `drawing.py`
and `sharing.py` ask them, and `markdown.py` says what they found.
"""
