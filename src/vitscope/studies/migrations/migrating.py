"""A study of an older schema is brought to the newest. Only its manifest is written, and the old one is kept."""

from __future__ import annotations

from vitscope.errors import MissingError
from vitscope.storage.stores import Store, hold
from vitscope.studies import layout, manifest
from vitscope.studies.errors import StudyError
from vitscope.studies.migrations import steps


def migrated(store: Store) -> tuple[int, int]:
    """Bring the study at a place to the schema that this version writes.

    First the old manifest is put beside the new one, as ``manifest.json.1`` for schema 1, then the new one replaces it
    in one step: whoever is stopped in between finds the old study, and doing it again does the same.

    Returns:
        The schema that it was at, and the one that it is at now.

    Raises StudyError, OtherStudyError, LockTaken, StoreFault as `vitscope.Study.migrate` says.
    """
    before = _schema(store)
    if before == manifest.SCHEMA:
        return before, before
    with hold(store):
        content = store.read(layout.MANIFEST)
        values = manifest.checked_values(content, store.name)
        schema = int(values["schema"])
        if schema < manifest.SCHEMA:
            try:
                changed = steps.changed(values, schema, manifest.SCHEMA)
            except LookupError:
                raise StudyError(
                    f"{store.name} is at schema {schema}, from which no step leads to {manifest.SCHEMA}; take an older "
                    "vitscope"
                ) from None
            new = manifest.made(changed, store.name).encode()
            manifest.decode(new, store.name)
            store.put(f"{layout.MANIFEST}.{schema}", content)
            store.put(layout.MANIFEST, new)
    return before, manifest.SCHEMA


def _schema(store: Store) -> int:
    try:
        return int(manifest.checked_values(store.read(layout.MANIFEST), store.name)["schema"])
    except MissingError:
        manifest.read_manifest(store)  # says what there is not
        raise
