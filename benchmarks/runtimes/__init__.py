"""Benchmark of every runtime in every precision on this machine: speed, size and correctness.

Each candidate computes in a process of its own (`worker_process.py`, `worker.py`). `stages.py`,
`pictures.py`, `replicas.py` and `batch_sizes.py` measure them, `markdown.py` writes the tables.
"""
