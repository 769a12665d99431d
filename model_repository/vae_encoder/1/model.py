from ray_stages.bridge.bridge import Bridge


class TritonPythonModel(Bridge):
    stage = "vae_encoder"
