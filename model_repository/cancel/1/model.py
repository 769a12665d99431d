from ray_stages.bridge.cancel import CancelBridge


class TritonPythonModel(CancelBridge):
    stage = "cancel"
