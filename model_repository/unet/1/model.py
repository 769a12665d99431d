from ray_stages.bridge import Bridge


class TritonPythonModel(Bridge):
    stage = "unet"
