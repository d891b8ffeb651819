"""The metrics, one file per metric or small family; importing this package registers them all."""

from __future__ import annotations

import importlib

# In the order of the formula sheet, which is the order of every list of metrics.
FILES = (
    "removal_curves",
    "insertion_deletion",
    "average_drop",
    "class_perturbation",
    "single_deletion",
    "saco",
    "subset_fidelity",
    "road",
    "localisation",
    "segmentation",
    "box_accuracy",
    "grid_pointing",
    "class_sensitivity",
    "sanity",
    "stability",
    "completeness",
    "complexity",
    "flow",
)

for _file in FILES:
    importlib.import_module(f"{__name__}.{_file}")
