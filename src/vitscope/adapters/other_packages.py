"""The packages that a user of this room may have: imported when they are needed, missed in one line."""

from __future__ import annotations

import importlib
from types import ModuleType

from vitscope.adapters.errors import AdapterError
from vitscope.errors import brief


def package(name: str, purpose: str) -> ModuleType:
    """Import a package. Raises AdapterError when it is absent or broken."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            raise AdapterError(
                f"{purpose} needs the package {name}; install it with: pip install {name}"
            ) from error
        raise AdapterError(f"{purpose} needs {name}, which is installed but lacks {error.name}") from error
    except Exception as error:
        raise AdapterError(
            f"{purpose} needs {name}, which is installed but fails to import ({brief(error)})"
        ) from error
