"""Prints the Debian packages that this interpreter lacks for the set-up, on one line.

It needs only the standard library. Triton's Python backend loads the shared library of the running
interpreter. Debian has that library, and a part of venv, in packages of their own.
"""

import importlib.util
import sysconfig
from pathlib import Path


def has_shared_library() -> bool:
    """Tells whether this interpreter's libpython is in a folder that the loader will search."""
    name = f"libpython{sysconfig.get_python_version()}.so.1.0"
    folder = Path(sysconfig.get_config_var("LIBDIR"))
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    return any((path / name).exists() for path in (folder, folder / multiarch))


def missing_packages() -> list[str]:
    version = sysconfig.get_python_version()
    present = {
        f"python{version}-venv": importlib.util.find_spec("ensurepip") is not None,
        f"libpython{version}": has_shared_library(),
    }
    return [package for package, is_present in present.items() if not is_present]


if __name__ == "__main__":
    print(*missing_packages())
