"""Latent Relay beside its peers: the same pictures, asked for in the same way, in one run."""
