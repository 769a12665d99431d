"""What breaks, a file each, on the real stack under a steady load; run by `make fault-test`."""
