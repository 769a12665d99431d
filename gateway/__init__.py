"""The front door: HTTP for those who want pictures, not tensors. Talks to Triton over gRPC only."""
