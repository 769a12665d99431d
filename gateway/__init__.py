"""The HTTP gateway. It takes HTTP requests and asks Triton for pictures over gRPC."""
