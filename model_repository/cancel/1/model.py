from ray_stages.cancel_bridge import CancelBridge


class TritonPythonModel(CancelBridge):
    stage = "cancel"
