from ray_stages.bridge.stream import StreamBridge


class TritonPythonModel(StreamBridge):
    stage = "unet"
