"""The command line.

serve      runs the gateway in the foreground until Ctrl-C or SIGTERM; it finishes what it accepted
new-key    prints a key, and the line with its hash for API_KEYS_FILE
"""

from __future__ import annotations

import argparse
import logging
import sys

from gateway.keys import new_key
from gateway.server import serve
from gateway.settings import GatewaySettings


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m gateway",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", default="serve", choices=["serve", "new-key"])
    if parser.parse_args().command == "new-key":
        key, line = new_key()
        print(f"the key, shown only now   {key}\nits line for API_KEYS_FILE  {line}")
        return
    try:
        settings = GatewaySettings.from_env()
        logging.basicConfig(level=settings.log_level, format="%(message)s", stream=sys.stderr)
        serve(settings)
    except (ValueError, OSError) as error:
        sys.exit("\n".join(f"gateway: {line}" for line in str(error).splitlines()))
