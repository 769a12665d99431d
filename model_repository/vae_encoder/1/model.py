from ray_stages.bridge import Bridge


class TritonPythonModel(Bridge):
    stage = "vae_encoder"
