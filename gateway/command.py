"""The command line.

serve      runs the gateway in the foreground until Ctrl-C or SIGTERM; it finishes what it accepted
new-key    prints a key, and the line with its hash for API_KEYS_FILE
"""

from __future__ import annotations

import argparse
import logging
import sys

from pydantic import ValidationError

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
        settings = GatewaySettings()
        logging.basicConfig(level=settings.log_level, format="%(message)s", stream=sys.stderr)
        serve(settings)
    except ValidationError as error:
        sys.exit("\n".join(f"gateway: {_describe(one)}" for one in error.errors()))
    except (ValueError, OSError) as error:
        sys.exit(f"gateway: {error}")


def _describe(error: object) -> str:
    assert isinstance(error, dict)
    name = "".join(str(part).upper() + ": " for part in error["loc"][:1])
    return name + str(error["msg"]).removeprefix("Value error, ")
