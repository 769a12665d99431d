"""Prints the Debian packages that this interpreter lacks for the set-up, on one line.

Needs nothing but the standard library. Triton's Python backend loads the shared library of the
very interpreter that runs; Debian keeps it in a package of its own, as it does half of venv.
"""

import importlib.util
import sysconfig
from pathlib import Path


def shared_library() -> bool:
    """Whether libpython of this interpreter lies where the loader will be told to look."""
    name = f"libpython{sysconfig.get_python_version()}.so.1.0"
    folder = Path(sysconfig.get_config_var("LIBDIR"))
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    return any((place / name).exists() for place in (folder, folder / multiarch))


def missing_packages() -> list[str]:
    version = sysconfig.get_python_version()
    present = {
        f"python{version}-venv": importlib.util.find_spec("ensurepip") is not None,
        f"libpython{version}": shared_library(),
    }
    return [package for package, there in present.items() if not there]


if __name__ == "__main__":
    print(*missing_packages())
