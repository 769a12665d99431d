"""The stages of a text-to-image service, the Ray Serve app that holds them, and the bridge from Triton."""
