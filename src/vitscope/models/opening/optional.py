"""The one place where optional libraries are looked up."""

from __future__ import annotations

import importlib
from types import ModuleType

from vitscope.errors import MissingExtraError, ModelError
from vitscope.models.quick_imports import without_compiler


def require(package: str, extra: str, purpose: str, *, distribution: str | None = None) -> ModuleType:
    """Import ``package``, or a module in it, or say how to get it.

    ``extra`` is the optional dependency group of vitscope that holds it, ``purpose`` what needs it, and
    ``distribution`` the installable name where it differs from the imported one. Raises ``MissingExtraError``
    when the package is absent and ``ModelError`` when it is there but fails to import.
    """
    name = distribution or package.partition(".")[0]
    try:
        with without_compiler():
            return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name == package.partition(".")[0]:
            raise MissingExtraError(name, extra, purpose) from error
        raise _broken(name, purpose, error) from error
    except Exception as error:
        # A torchvision built for another torch fails with RuntimeError, not ImportError.
        raise _broken(name, purpose, error) from error


def _broken(name: str, purpose: str, error: Exception) -> ModelError:
    return ModelError(
        f"{purpose} needs {name}, which is installed but fails to import ({type(error).__name__}: {error}); "
        f"reinstall {name} together with torch and torchvision of the same release"
    )
