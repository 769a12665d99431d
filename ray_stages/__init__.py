"""The stages of text to image, the Ray Serve deployments that hold them, the bridge from Triton."""
