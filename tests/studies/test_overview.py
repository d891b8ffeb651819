"""One number for each picture, against numpy on the study's own arrays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import vitscope as vs
from tests.studies.worlds import folder_of_pictures, made
from vitscope.studies import Study, StudyError, overview


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Six pictures and one file that is none, with heads removed and features kept."""
    folder = tmp_path_factory.mktemp("overview")
    found = made(
        folder / "study",
        folder_of_pictures(folder / "pictures", 6, bad=1),
        analyses={"importance": {}},
        methods=None,
        arrays=("features",),
    )
    assert found.run().whole
    return found


@pytest.mark.parametrize("chunk", [65_536, 2])
def test_the_largest_drop_is_that_of_the_worst_head(
    study: Study, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "CHUNK", chunk)
    scores = study.array("head_scores/probability_drop_top")[:]
    found = overview.largest_drops(study)
    assert np.isnan(found.value[0]) and (found.block[0], found.head[0]) == (-1, -1), "the one that is none"
    for picture in range(1, 7):
        assert found.value[picture] == scores[picture].max()
        assert scores[picture, found.block[picture], found.head[picture]] == scores[picture].max()


@pytest.mark.parametrize("chunk", [65_536, 2])
def test_similarity_is_the_cosine_of_features(
    study: Study, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "CHUNK", chunk)
    features = study.array("features")[1:].astype(np.float64)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    found = overview.similarities(study, 3)
    assert np.isnan(found[0]) and found[3] == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(found[1:], unit @ unit[2], atol=1e-6)
    with pytest.raises(StudyError, match="no features of picture 0"):
        overview.similarities(study, 0)
    for none in (-1, 7):
        with pytest.raises(StudyError, match="pictures 0 to 6"):
            overview.similarities(study, none)


def test_why_a_study_has_no_such_number(study: Study, tmp_path: Path) -> None:
    manifest = study.manifest
    assert overview.why_no_drop(manifest) is None and overview.why_no_similarity(manifest) is None
    vs.worlds.world("shapes").sample(1).images()[0].save(tmp_path / "a.png")
    plain = vs.Study.create(
        tmp_path / "study",
        model="bundled/shapes",
        images=tmp_path / "a.png",
        analyses=("strength",),
        arrays=(),
    )
    with pytest.raises(StudyError, match="did not measure its heads; make it with --analyses importance"):
        overview.largest_drops(plain)
    with pytest.raises(StudyError, match="kept no class-token features; make it with --arrays features"):
        overview.similarities(plain, 0)
    screened = replace(
        manifest, arrays={path: shape for path, shape in manifest.arrays.items() if "top" not in path}
    )
    assert "without removing any; make it with --exact" in str(overview.why_no_drop(screened))
