"""Benchmarks: Latent Relay and its peers draw the same pictures under the same load, in one run.

Each module at this level, and each package with a `__main__`, is a program.
"""
