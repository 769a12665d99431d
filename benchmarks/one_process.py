"""Peer 1, a child process: the pipeline alone. Wishes and pictures come and go through a pipe."""

from __future__ import annotations

import sys
import time
from multiprocessing.connection import Connection

from benchmarks.pipeline import Pipeline
from benchmarks.png import to_png
from ray_stages.settings import Settings


def main(descriptor: int) -> None:
    connection = Connection(descriptor)
    pipeline = Pipeline(Settings.from_env())
    connection.send("ready")
    while True:
        try:
            wish = connection.recv()
        except EOFError:
            return
        arrived = time.monotonic()
        ((image, times),) = pipeline.draw([wish])
        connection.send((to_png(image), times.arriving(arrived)))


if __name__ == "__main__":
    main(int(sys.argv[1]))
