from ray_stages.stream_bridge import StreamBridge


class TritonPythonModel(StreamBridge):
    stage = "unet"
