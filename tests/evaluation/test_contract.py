"""One contract for every metric: batch = loop, shards add up, order does not matter, nothing leaks."""

from __future__ import annotations

import math

import pytest
import torch

from vitscope.errors import EvaluationError
from vitscope.evaluation import Metric, all_metrics, get_metric, register_metric
from vitscope.evaluation.metric_state import statistics_of

from .conftest import MakeCase, subject_of

NAMES = [info.name for info in all_metrics() if info.family != "sanity"]


@pytest.mark.parametrize("name", NAMES)
def test_shards_add_up(make_case: MakeCase, name: str) -> None:
    whole, parts = Metric(name), [Metric(name), Metric(name)]
    whole.update(subject_of(make_case(7), flow=True))
    for part, (start, count) in zip(parts, ((0, 3), (3, 4)), strict=True):
        part.update(subject_of(make_case(count, start=start), flow=True))
    merged = Metric(name)
    for part in parts:
        merged.merge(part)
    assert merged.keys == whole.keys
    assert merged.compute() == pytest.approx(whole.compute(), abs=1e-6, nan_ok=True)
    backwards = Metric(name)
    for part in reversed(parts):
        backwards.merge(part)
    assert backwards.compute() == pytest.approx(whole.compute(), abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_its_pictures(make_case: MakeCase, name: str) -> None:
    whole, single = Metric(name), Metric(name)
    whole.update(subject_of(make_case(4, batch_size=7), flow=True))
    for start in range(4):
        single.update(subject_of(make_case(1, start=start, batch_size=64), flow=True))
    assert torch.allclose(whole.rows, single.rows, atol=1e-5), "a picture's row depends on its batch"
    again = Metric(name)
    again.update(subject_of(make_case(4), flow=True))
    assert torch.allclose(whole.rows, again.rows, atol=1e-5), "a second run gives another value"


@pytest.mark.parametrize("name", NAMES)
def test_range_and_state(make_case: MakeCase, name: str) -> None:
    metric = Metric(name)
    assert math.isnan(metric.compute())
    metric.update(subject_of(make_case(5), flow=True))
    assert metric.rows.dtype == torch.float64
    assert len(metric.per_image()) == 5
    mean_metric = metric.rows.shape[1] == 2 and metric.info.name != "flow-block-90"
    if mean_metric and not math.isnan(metric.compute()):
        assert metric.compute() == pytest.approx(float(metric.per_image().nanmean()), abs=1e-9)
    metric.reset()
    assert math.isnan(metric.compute())


def test_every_metric_says_what_it_is() -> None:
    assert len({info.name for info in all_metrics()}) == len(all_metrics()) >= 40
    for info in all_metrics():
        assert info.title
        assert info.citation
        assert info.higher_is_better in (True, False, None)
        assert info.function.__doc__, info.name
        assert all(get_metric(other) for other in info.beside)


def test_metrics_that_never_stand_alone() -> None:
    assert "average-increase" in get_metric("average-drop").beside
    assert get_metric("max-sensitivity").beside == ("class-sensitivity",)


def test_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(EvaluationError, match="did you mean srg"):
        get_metric("srgg")


def test_merging_twice_the_same_pictures_is_refused(make_case: MakeCase) -> None:
    first, second = Metric("srg"), Metric("srg")
    first.update(subject_of(make_case(2)))
    second.update(subject_of(make_case(2)))
    with pytest.raises(EvaluationError, match="in both shards"):
        first.merge(second)
    with pytest.raises(EvaluationError, match="like with like"):
        first.merge(Metric("mif"))
    with pytest.raises(EvaluationError, match="one row per picture"):
        first.update_rows(["a"], torch.zeros(2, 2))


def test_a_new_metric_is_one_registered_function(
    make_case: MakeCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {info.name: info for info in all_metrics()}
    monkeypatch.setattr("vitscope.evaluation.metric._METRICS", known)
    register_metric("peak", family="", title="", citation="", higher_is_better=True)(
        lambda subject: subject.maps.amax((1, 2))
    )
    metric = Metric("peak")
    subject = subject_of(make_case(3))
    metric.update(subject)
    assert metric.compute() == pytest.approx(float(subject.maps.amax((1, 2)).mean()))
    monkeypatch.undo()
    with pytest.raises(EvaluationError):
        get_metric("peak")
    with pytest.raises(EvaluationError, match="exists already"):
        register_metric("srg", family="", title="", citation="", higher_is_better=True)(lambda subject: None)


def test_undefined_pictures_are_left_out() -> None:
    rows = statistics_of(torch.tensor([1.0, float("nan"), 3.0]))
    assert rows.tolist() == [[1, 1], [0, 0], [3, 1]]
    assert float(get_metric("srg").finalise(rows.sum(0))) == 2


def test_methods_without_what_a_metric_needs_are_not_scored(make_case: MakeCase) -> None:
    subject = subject_of(make_case(2))
    subject.explain, subject.signed = None, False
    for name in ("adcc", "class-sensitivity", "max-sensitivity", "lipschitz", "infidelity", "completeness"):
        assert get_metric(name).function(subject) is None
    for name in ("flow-srg", "flow-block-90", "mprt", "smprt", "emprt"):
        assert get_metric(name).function(subject) is None


def test_missing_truth_is_said() -> None:
    from vitscope.evaluation.case import Case

    case = Case.__new__(Case)
    case.labels = case.masks = case.boxes = None
    with pytest.raises(EvaluationError, match="labels="):
        case.require_labels()
    with pytest.raises(EvaluationError, match="masks= or boxes="):
        case.require_masks()
