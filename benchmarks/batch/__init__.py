"""Benchmark of the batch pipeline beside a plain `map_batches` with a whole diffusers pipeline."""
