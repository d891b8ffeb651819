"""The packages of vitscope: which version is wanted, which is there, and the command that mends the difference."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement

from vitscope.errors import InstallationError, brief, install_command

PURPOSES = {
    "app": "the web app, vitscope serve",
    "captum": "gradients on pixels, occlusion, Shapley values",
    "duckdb": "questions to a study in SQL",
    "heads": "the 2-D map of attention patterns by UMAP",
    "hf": "models of Hugging Face transformers",
    "netcdf": "studies as netCDF",
    "notebook": "the interactive view in a notebook",
    "open_clip": "CLIP models, targets in words",
    "ray": "studies on several processes or machines",
    "s3": "pictures and studies in S3",
    "video": "films as MP4 and WebM",
}
"""What each extra is for."""
TOGETHER = ("torch", "torchvision", "timm")
"""Packages that must be of one build: they are imported, not looked up alone."""


@dataclass(frozen=True)
class Package:
    """One package that is wanted, and what was found. ``problem`` is empty when it is as wanted."""

    name: str
    wanted: str
    version: str | None
    problem: str
    remedy: str


@dataclass(frozen=True)
class Extra:
    """One optional part with its packages; ``remedy`` is empty when all are there."""

    name: str
    purpose: str
    packages: tuple[Package, ...]
    remedy: str

    @property
    def there(self) -> bool:
        """True when each of its packages is as wanted."""
        return not any(package.problem for package in self.packages)


def requirements(distribution: str = "vitscope") -> list[Requirement]:
    """What the installed vitscope says that it needs. Raises InstallationError when it is not installed."""
    try:
        listed = metadata.requires(distribution) or []
        return [Requirement(each) for each in listed]
    except metadata.PackageNotFoundError as error:
        raise InstallationError(
            "vitscope runs from its sources and is not installed, so what it needs is not known; run: pip install -e ."
        ) from error
    except InvalidRequirement as error:
        raise InstallationError(
            f"what vitscope needs cannot be read ({brief(error)}); install it anew: pip install ."
        ) from error


def needed(found: Iterable[Requirement]) -> list[Package]:
    """What every user needs, each as it is found here."""
    return [package(each) for each in found if each.marker is None or each.marker.evaluate({"extra": ""})]


def extras(found: Iterable[Requirement]) -> list[Extra]:
    """The optional parts, each with its packages as they are found here."""
    listed = list(found)
    parts = []
    for name, purpose in PURPOSES.items():
        packages = tuple(
            package(each)
            for each in listed
            if each.marker is not None
            and each.marker.evaluate({"extra": name})
            and not each.marker.evaluate({"extra": ""})
        )
        lacking = any(each.problem for each in packages)
        parts.append(Extra(name, purpose, packages, install_command(name) if lacking else ""))
    return parts


def package(wanted: Requirement) -> Package:
    """One package as it is found here."""
    limits = str(wanted.specifier)
    remedy = f'pip install "{wanted.name}{limits}"'
    try:
        version = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        return Package(wanted.name, limits, None, f"{wanted.name} is missing", remedy)
    if not wanted.specifier.contains(version, prereleases=True):
        problem = f"{wanted.name} {version} is installed, {limits} is needed"
        return Package(wanted.name, limits, version, problem, remedy)
    return Package(wanted.name, limits, version, "", "")


def imported(found: Iterable[Package]) -> list[Package]:
    """The same, with those of ``TOGETHER`` imported: builds that do not fit each other fail only then."""
    tried = []
    for each in found:
        if each.name in TOGETHER and each.version is not None and not each.problem:
            try:
                importlib.import_module(each.name)
            except Exception as error:
                problem = f"{each.name} {each.version} fails to import ({brief(error)})"
                remedy = "pip install --force-reinstall torch torchvision"
                each = Package(each.name, each.wanted, each.version, problem, remedy)
        tried.append(each)
    return tried
