"""The descriptions of a study's arrays (``zarr.json``): they follow from the manifest, so a run mends those that are
damaged."""

from __future__ import annotations

from collections.abc import Mapping

from vitscope.errors import MissingError
from vitscope.storage.stores import Store
from vitscope.studies.manifest import Manifest
from vitscope.studies.store.specs import array_metadata, group_metadata, is_whole, metadata_path


def descriptions(manifest: Manifest) -> dict[str, bytes]:
    """Every description of a study by its path."""
    specs = manifest.specs.values()
    arrays = {
        metadata_path(spec.path): array_metadata(spec, manifest.input.count, manifest.shard_size)
        for spec in specs
    }
    return {**group_metadata(manifest.study, specs), **arrays}


def damaged_descriptions(store: Store, manifest: Manifest) -> Mapping[str, str]:
    """By path, what is wrong with a description that is not as it was written."""
    found = {}
    for path in descriptions(manifest):
        try:
            content = store.read(path)
        except MissingError:
            found[path] = "missing"
            continue
        if not is_whole(content):
            found[path] = "changed" if content else "empty"
    return found


def mend_descriptions(store: Store, manifest: Manifest) -> None:
    """Write those anew that are damaged."""
    whole = descriptions(manifest)
    for path in damaged_descriptions(store, manifest):
        store.put(path, whole[path])
