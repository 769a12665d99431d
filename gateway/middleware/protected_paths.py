"""The paths that need a key where keys are configured."""

from __future__ import annotations

import re

PROTECTED = re.compile(r"/(v1/.*|imagine|metrics)", re.DOTALL)  # a path may hold a newline
# Their ids are unguessable, and so are keys themselves: an <img> element cannot send another.
CAPABILITY_URL = re.compile(r"/v1/(images/files/[^/]+|jobs/[^/]+/images/[^/]+)")


def needs_key(path: str) -> bool:
    return bool(PROTECTED.fullmatch(path)) and not CAPABILITY_URL.fullmatch(path)
