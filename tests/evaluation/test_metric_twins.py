"""Each metric against a slow, literal version of its formula that shares no helper with it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics as sklearn_metrics

from vitscope.evaluation import get_metric

from .conftest import GRID, SIZE, MakeCase, random_vit, subject_of


def value_of(name: str, subject: Any) -> np.ndarray:
    return np.asarray(get_metric(name).function(subject), dtype=np.float64)


def probability(logits: torch.Tensor, index: int) -> float:
    return float(torch.softmax(logits, -1)[index])


def enlarge(grid: np.ndarray, size: int) -> np.ndarray:
    """Bilinear with pixel centres, by the formula."""
    height, width = grid.shape
    out = np.zeros((size, size))
    for y in range(size):
        for x in range(size):
            fy = min(max((y + 0.5) * height / size - 0.5, 0), height - 1)
            fx = min(max((x + 0.5) * width / size - 0.5, 0), width - 1)
            y0, x0 = int(fy), int(fx)
            y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
            a, b = fy - y0, fx - x0
            out[y, x] = (grid[y0, x0] * (1 - b) + grid[y0, x1] * b) * (1 - a) + (
                grid[y1, x0] * (1 - b) + grid[y1, x1] * b
            ) * a
    return out


def checked_order(subject: Any, i: int) -> np.ndarray:
    """The metric's order of the pixels, after checking that it sorts the enlarged map: only ties are its own."""
    values, order = enlarge(subject.maps[i].numpy(), SIZE).ravel(), subject.pixel_order()[i].numpy()
    assert sorted(order) == list(range(SIZE * SIZE))
    assert (np.diff(values[order]) <= 1e-5).all()
    return order


def cell_of(y: int, x: int) -> int:
    return (y * GRID[0] // SIZE) * GRID[1] + x * GRID[1] // SIZE


@pytest.mark.parametrize("quantity", ["logit", "probability", "log_probability"])
def test_removal_curves(make_case: MakeCase, additive: Any, quantity: str) -> None:
    case = make_case(3, score=quantity)
    subject = subject_of(case)
    for i in range(3):
        contribution = additive.patches(case.images)[i]
        order = sorted(range(16), key=lambda p: -float(subject.maps[i].flatten()[p]))

        def score(left: list[int], contribution: Any = contribution, i: int = i) -> float:
            logits = sum((contribution[p] * additive.weights[p] for p in left), torch.zeros(5))
            chosen = int(case.classes[i])
            if quantity == "logit":
                return float(logits[chosen])
            p = probability(logits, chosen)
            return p if quantity == "probability" else math.log(p)

        mif = [score(order[2 * k :]) for k in range(9)]
        lif = [score(order[: 16 - 2 * k]) for k in range(9)]
        areas = [sum((c[k] + c[k + 1]) / 2 / 8 for k in range(8)) for c in (mif, lif)]
        assert value_of("mif", subject)[i] == pytest.approx(areas[0], abs=1e-5)
        assert value_of("lif", subject)[i] == pytest.approx(areas[1], abs=1e-5)
        assert value_of("srg", subject)[i] == pytest.approx(areas[1] - areas[0], abs=1e-5)
    gain = value_of("mrg", subject) + value_of("lrg", subject)
    assert gain == pytest.approx(value_of("srg", subject), abs=1e-5)
    assert value_of("mrg", subject) == pytest.approx(
        np.asarray(case.random_area()) - value_of("mif", subject), abs=1e-5
    )


@pytest.mark.parametrize("kind", ["deletion", "insertion"])
def test_rise(make_case: MakeCase, additive: Any, kind: str) -> None:
    from scipy.ndimage import gaussian_filter

    case = make_case(2)
    subject = subject_of(case)
    point = np.zeros((11, 11))
    point[5, 5] = 1
    kernel = gaussian_filter(point, 5)
    for i in range(2):
        image = case.images[i].numpy()
        blurred = np.zeros_like(image)
        padded = np.pad(image, ((0, 0), (5, 5), (5, 5)))
        for y in range(SIZE):
            for x in range(SIZE):
                blurred[:, y, x] = (padded[:, y : y + 11, x : x + 11] * kernel).sum((1, 2))
        start, finish = (image, np.zeros_like(image)) if kind == "deletion" else (blurred, image)
        order = checked_order(subject, i)
        values = []
        for step in range(SIZE + 1):
            current = start.reshape(3, -1).copy()
            chosen = order[: step * SIZE]
            current[:, chosen] = finish.reshape(3, -1)[:, chosen]
            logits = additive(torch.tensor(current.reshape(1, 3, SIZE, SIZE), dtype=torch.float32), None)[0]
            values.append(probability(logits, int(case.classes[i])))
        expected = (sum(values) - values[0] / 2 - values[-1] / 2) / (len(values) - 1)
        assert value_of(kind, subject)[i] == pytest.approx(expected, abs=1e-4)
        assert float(subject.curves_kept[kind][1][i, 0]) == pytest.approx(values[0], abs=1e-5)


@pytest.mark.parametrize("kind", ["deletion", "insertion"])
def test_patch_aligned_variant(make_case: MakeCase, additive: Any, kind: str) -> None:
    case = make_case(2)
    subject = subject_of(case)
    from vitscope.evaluation.removal.pixels import rise_blur

    start = case.images if kind == "deletion" else rise_blur(case.images)
    finish = torch.zeros_like(case.images) if kind == "deletion" else case.images
    for i in range(2):
        order = sorted(range(16), key=lambda p: -float(subject.maps[i].flatten()[p]))
        values = []
        for step in range(9):
            gone, current = set(order[: 2 * step]), start[i].clone()
            for y in range(SIZE):
                for x in range(SIZE):
                    if cell_of(y, x) in gone:
                        current[:, y, x] = finish[i, :, y, x]
            values.append(probability(additive(current.unsqueeze(0), None)[0], int(case.classes[i])))
        expected = sum((values[k] + values[k + 1]) / 2 / 8 for k in range(8))
        assert value_of(f"{kind}-patch", subject)[i] == pytest.approx(expected, abs=1e-5)


def test_average_drop_increase_gain_and_adcc(make_case: MakeCase, additive: Any) -> None:
    case = make_case(4)
    subject = subject_of(case)
    for i in range(4):
        large = enlarge(subject.maps[i].numpy(), SIZE)
        unit = (large - large.min()) / (large.max() - large.min())
        masked = case.images[i] * torch.tensor(unit, dtype=torch.float32)
        chosen = int(case.classes[i])
        p = probability(additive(case.images[i : i + 1], None)[0], chosen)
        q = probability(additive(masked.unsqueeze(0), None)[0], chosen)
        assert value_of("average-drop", subject)[i] == pytest.approx(max(0, p - q) / p, abs=1e-5)
        assert value_of("average-increase", subject)[i] == float(q > p)
        assert value_of("average-gain", subject)[i] == pytest.approx(max(0, q - p) / (1 - p), abs=1e-5)
        assert subject.explain is not None
        again = subject.explain(masked.unsqueeze(0), case.classes[i : i + 1])[0].numpy().ravel()
        coherency = (1 + np.corrcoef(subject.maps[i].numpy().ravel(), again)[0, 1]) / 2
        expected = 3 / (1 / coherency + 1 / (1 - unit.mean()) + 1 / (1 - max(0, p - q) / p))
        assert value_of("adcc", subject)[i] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("name", "sign"), [("positive-perturbation", -1), ("negative-perturbation", 1)])
def test_class_perturbation(make_case: MakeCase, additive: Any, name: str, sign: int) -> None:
    case = make_case(6)
    assert case.labels is not None
    # Half of the labels right, so that accuracy has something to lose.
    case.labels = torch.where(torch.arange(6) % 2 == 0, case.classes, case.labels)
    subject = subject_of(case)
    black = -torch.tensor([0.485, 0.456, 0.406]) / torch.tensor([0.229, 0.224, 0.225])
    for i in range(6):
        order = checked_order(subject, i)[::-sign].copy()
        hits = []
        for step in range(10):
            current = case.images[i].reshape(3, -1).clone()
            current[:, order[: int(SIZE * SIZE * step / 10)]] = black.view(3, 1)
            top = int(additive(current.view(1, 3, SIZE, SIZE), None)[0].argmax())
            hits.append(float(top == int(case.labels[i])))
        expected = 100 * sum((hits[k] + hits[k + 1]) / 2 * 0.1 for k in range(9))
        assert value_of(name, subject)[i] == pytest.approx(expected, abs=1e-4)


def test_single_deletion_and_leave_one_out(make_case: MakeCase, additive: Any) -> None:
    case = make_case(3)
    subject = subject_of(case)
    truth = additive.contributions(case.images, case.classes)
    for i in range(3):
        # On a 4×4 grid the 4×4 cells are the patches, and the drop of a patch is what it adds.
        expected = stats.spearmanr(subject.maps[i].flatten(), truth[i].flatten()).statistic
        assert value_of("single-deletion", subject)[i] == pytest.approx(expected, abs=1e-6)
        assert value_of("leave-one-out", subject)[i] == pytest.approx(expected, abs=1e-6)


def test_saco(make_case: MakeCase, additive: Any) -> None:
    case = make_case(3)
    subject = subject_of(case)
    truth = additive.contributions(case.images, case.classes).flatten(1)
    for i in range(3):
        values = subject.maps[i].flatten()
        order = sorted(range(16), key=lambda p: -float(values[p]))
        groups: list[list[int]] = [[] for _ in range(10)]
        for rank, patch in enumerate(order):
            groups[rank * 10 // 16].append(patch)
        salience = [sum(float(values[p]) for p in group) for group in groups]
        drop = [sum(float(truth[i, p]) for p in group) for group in groups]
        total = size = 0.0
        for a in range(10):
            for b in range(a + 1, 10):
                weight = salience[a] - salience[b]
                weight = weight if drop[a] >= drop[b] else -weight
                total, size = total + weight, size + abs(weight)
        assert value_of("saco", subject)[i] == pytest.approx(total / size, abs=1e-6)


def test_mu_fidelity_and_infidelity(make_case: MakeCase, additive: Any) -> None:
    case = make_case(2)
    subject = subject_of(case)
    value = value_of("mu-fidelity", subject)
    chosen = next(v for k, v in case.memory.items() if k == "subsets")[0]
    assert chosen.shape == (2, 200, 16)
    truth = additive.contributions(case.images, case.classes).flatten(1)
    for i in range(2):
        parts = []
        pairs = [
            (float((subject.maps[i].flatten() * s).sum()), float((truth[i] * s).sum()), int(s.sum()))
            for s in chosen[i]
        ]
        for size in sorted({size for _, _, size in pairs}):
            same = [(a, b) for a, b, n in pairs if n == size]
            parts.append(
                stats.spearmanr([round(a, 5) for a, _ in same], [round(b, 4) for _, b in same]).statistic
            )
        assert value[i] == pytest.approx(np.mean(parts), abs=2e-3)
        a, b = np.array([a for a, _, _ in pairs]), np.array([b for _, b, _ in pairs])
        scale = (a * b).sum() / (a * a).sum()
        expected = ((scale * a - b) ** 2).sum() / (b * b).sum()
        assert value_of("infidelity", subject)[i] == pytest.approx(expected, abs=1e-4)


def test_road(make_case: MakeCase, additive: Any) -> None:
    from vitscope.evaluation.removal.draws import normals

    case = make_case(2)
    subject = subject_of(case)
    noise = normals(case.keys, (3, SIZE, SIZE), 0, "road")
    weights = {
        (a, b): 1 / 6 if 0 in (a, b) else 1 / 12 for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)
    }

    def impute(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
        cells = [tuple(c) for c in np.argwhere(hole)]
        place = {cell: k for k, cell in enumerate(cells)}
        matrix, right = np.zeros((len(cells),) * 2), np.zeros((len(cells), 3))
        for (y, x), k in place.items():
            for (a, b), w in weights.items():
                if 0 <= y + a < SIZE and 0 <= x + b < SIZE:
                    matrix[k, k] += w
                    if (y + a, x + b) in place:
                        matrix[k, place[(y + a, x + b)]] -= w
                    else:
                        right[k] += w * image[:, y + a, x + b]
        out = image.copy()
        for cell, solved in zip(cells, np.linalg.solve(matrix, right), strict=True):
            out[:, cell[0], cell[1]] = solved
        return out

    for i in range(2):
        first = checked_order(subject, i)
        gains = []
        for percentile in range(10, 100, 10):
            count = SIZE * SIZE - SIZE * SIZE * percentile // 100
            scores = []
            for order in (first, first[::-1]):
                hole = np.zeros(SIZE * SIZE, dtype=bool)
                hole[order[:count]] = True
                filled = impute(case.images[i].numpy(), hole.reshape(SIZE, SIZE))
                filled[:, hole.reshape(SIZE, SIZE)] += 0.01 * noise[i].numpy()[:, hole.reshape(SIZE, SIZE)]
                logits = additive(torch.tensor(filled[None], dtype=torch.float32), None)[0]
                scores.append(float(logits[int(case.classes[i])]))
            gains.append((scores[1] - scores[0]) / 2)
        assert value_of("road", subject)[i] == pytest.approx(np.mean(gains), abs=1e-3)


def test_localisation(make_case: MakeCase) -> None:
    case = make_case(4)
    subject = subject_of(case)
    assert case.masks is not None
    for i in range(4):
        values, mask = enlarge(subject.maps[i].numpy(), SIZE), case.masks[i].numpy()
        positive = np.maximum(values, 0)
        assert value_of("mass", subject)[i] == pytest.approx(positive[mask].sum() / positive.sum(), abs=1e-5)
        size = int(mask.sum())
        top = checked_order(subject, i)[:size]
        assert value_of("rank-accuracy", subject)[i] == pytest.approx(mask.ravel()[top].mean(), abs=1e-9)
        assert value_of("pointing", subject)[i] == float(mask.ravel()[checked_order(subject, i)[0]])
        flat = subject.pixels[i].numpy().ravel()
        expected = sklearn_metrics.average_precision_score(mask.ravel(), flat)
        assert value_of("average-precision", subject)[i] == pytest.approx(expected, abs=1e-9)
        expected = sklearn_metrics.roc_auc_score(mask.ravel(), flat)
        assert value_of("auroc", subject)[i] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("rule", ["mean", "half"])
def test_segmentation(make_case: MakeCase, rule: str) -> None:
    case = make_case(4)
    subject = subject_of(case)
    assert case.masks is not None
    ending = "" if rule == "mean" else "-half"
    correct = inside = union = back_inside = back_union = 0
    for i in range(4):
        values = subject.pixels[i].numpy()
        unit = (values - values.min()) / (values.max() - values.min())
        found = unit > (unit.mean() if rule == "mean" else 0.5)
        mask = case.masks[i].numpy()
        correct += int((found == mask).sum())
        inside, union = inside + int((found & mask).sum()), union + int((found | mask).sum())
        back_inside += int((~found & ~mask).sum())
        back_union += int((~found | ~mask).sum())
        truth = np.concatenate([~mask.ravel(), mask.ravel()])
        expected = sklearn_metrics.average_precision_score(
            truth, np.concatenate([1 - unit.ravel(), unit.ravel()])
        )
        assert value_of("segmentation-map", subject)[i] == pytest.approx(expected, abs=1e-5)
    for name, expected in (
        ("segmentation-accuracy", correct / (4 * SIZE * SIZE)),
        ("segmentation-miou", (inside / union + back_inside / back_union) / 2),
    ):
        info = get_metric(name + ending)
        rows = info.function(subject)
        assert rows is not None
        assert float(info.finalise(rows.sum(0))) == pytest.approx(expected, abs=1e-9)


def test_pxap(make_case: MakeCase) -> None:
    case = make_case(3)
    subject = subject_of(case)
    assert case.masks is not None
    scores, truth = [], []
    for i in range(3):
        values = subject.pixels[i].numpy()
        scores.append(((values - values.min()) / (values.max() - values.min())).ravel())
        truth.append(case.masks[i].numpy().ravel())
    found, mask = np.concatenate(scores), np.concatenate(truth)
    area, before = 0.0, 0.0
    for step in range(999, -1, -1):
        above = np.minimum((found * 1000).astype(int), 999) >= step
        if above.any():
            recall = (above & mask).sum() / mask.sum()
            area += (recall - before) * (above & mask).sum() / above.sum()
            before = recall
    info = get_metric("pxap")
    rows = info.function(subject)
    assert rows is not None
    assert float(info.finalise(rows.sum(0))) == pytest.approx(area, abs=2e-3)


def test_max_box_accuracy(make_case: MakeCase) -> None:
    case = make_case(4)
    subject = subject_of(case)
    assert case.boxes is not None
    hits = np.zeros((3, 100))
    for i in range(4):
        values = subject.pixels[i].numpy()
        unit = (values - values.min()) / (values.max() - values.min())
        for t in range(100):
            boxes, todo = [], {tuple(c) for c in np.argwhere(unit >= t / 100)}
            while todo:
                part, front = set(), [todo.pop()]
                while front:
                    y, x = front.pop()
                    part.add((y, x))
                    for near in [(y + a, x + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]:
                        if near in todo:
                            todo.remove(near)
                            front.append(near)
                ys, xs = [y for y, _ in part], [x for _, x in part]
                boxes.append((min(xs), min(ys), max(xs) + 1, max(ys) + 1))
            best = 0.0
            for a in boxes:
                for b in case.boxes[i]:
                    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
                    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
                    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
                    best = max(best, width * height / union)
            hits[:, t] += [best >= 0.3, best >= 0.5, best >= 0.7]
    info = get_metric("max-box-acc-v2")
    rows = info.function(subject)
    assert rows is not None
    assert float(info.finalise(rows.sum(0))) == pytest.approx((hits.max(1) / 4).mean(), abs=1e-9)


def test_grid_pointing(make_case: MakeCase) -> None:
    case = make_case(3)
    case.masks = torch.zeros(3, SIZE, SIZE, dtype=torch.bool)
    case.masks[:, :8, 8:] = True
    subject = subject_of(case)
    for i in range(3):
        positive = np.maximum(subject.maps[i].numpy(), 0)
        assert value_of("grid-pointing", subject)[i] == pytest.approx(
            positive[:2, 2:].sum() / positive.sum(), abs=1e-6
        )


def test_class_sensitivity(make_case: MakeCase) -> None:
    from vitscope.evaluation.metrics.class_sensitivity import other_classes

    case = make_case(5)
    subject = subject_of(case)
    assert subject.explain is not None
    others = other_classes(case)
    assert bool((others != case.classes).all())
    assert int(others.min()) >= 0
    assert int(others.max()) < 5
    for i in range(5):
        again = subject.explain(case.images[i : i + 1], others[i : i + 1])[0]
        expected = 1 - stats.spearmanr(subject.maps[i].flatten(), again.flatten()).statistic
        assert value_of("class-sensitivity", subject)[i] == pytest.approx(expected, abs=1e-6)


def test_stability(make_case: MakeCase) -> None:
    case = make_case(4)
    subject = subject_of(case)
    assert subject.explain is not None
    for name, kind in (("max-sensitivity", "uniform"), ("lipschitz", "normal")):
        values = value_of(name, subject)
        noise, steady = case.memory[("noise", kind)]
        assert noise.shape == (4, 10, 3, SIZE, SIZE)
        assert bool(steady.any()), "some prediction stays, or nothing is compared"
        if kind == "uniform":
            assert float(noise.abs().max()) <= 0.02
        for i in range(4):
            largest = 0.0
            for draw in range(10):
                moved = subject.explain(
                    (case.images[i] + noise[i, draw]).unsqueeze(0), case.classes[i : i + 1]
                )[0]
                a, b = moved.flatten().double(), subject.maps[i].flatten().double()
                if kind == "uniform":
                    largest = max(largest, float((a - b).norm() / b.norm()))
                else:
                    step = float((a / a.norm() - b / b.norm()).norm())
                    largest = max(largest, step / float(noise[i, draw].double().norm()))
            if bool(steady[i]):
                assert values[i] == pytest.approx(largest, rel=1e-4)
            else:
                assert math.isnan(values[i])


def test_completeness_and_conservation(make_case: MakeCase, additive: Any) -> None:
    case = make_case(3)
    subject = subject_of(case)
    for i in range(3):
        score = float(additive(case.images[i : i + 1], None)[0, case.classes[i]])
        total = float(subject.maps[i].sum())
        # The zero picture scores 0 on the additive model.
        assert value_of("completeness", subject)[i] == pytest.approx(abs(score - total), abs=1e-4)
        assert value_of("conservation", subject)[i] == pytest.approx(abs(score - total), abs=1e-4)


def test_complexity(make_case: MakeCase) -> None:
    case = make_case(3)
    subject = subject_of(case)
    for i in range(3):
        weight = np.abs(subject.maps[i].numpy().astype(np.float64)).ravel()
        assert value_of("entropy", subject)[i] == pytest.approx(
            stats.entropy(weight / weight.sum()), abs=1e-6
        )
        gaps = sum(abs(a - b) for a in weight for b in weight)
        assert value_of("gini", subject)[i] == pytest.approx(gaps / (2 * 16 * weight.sum()), abs=1e-6)


def test_flow(make_case: MakeCase) -> None:
    case = make_case(3)
    subject = subject_of(case, flow=True)
    assert subject.flow is not None
    by_block = np.stack(
        [value_of("srg", subject_of(case, maps=subject.flow[:, b])) for b in range(3)], axis=1
    )
    assert value_of("flow-srg", subject) == pytest.approx(by_block.mean(1), abs=1e-5)
    info = get_metric("flow-block-90")
    rows = info.function(subject)
    assert rows is not None
    mean = by_block.mean(0)
    value = float(info.finalise(rows.sum(0)))
    if mean[-1] <= 0:
        assert math.isnan(value)
    else:
        assert value == next(b for b in range(3) if mean[b] >= 0.9 * mean[-1])


def test_sanity(make_case: MakeCase) -> None:
    """MPRT, its smooth and its efficient form, with the maps of a cascade of two levels given."""
    from vitscope.evaluation.removal.draws import normals

    case = make_case(3)
    subject = subject_of(case)
    case.cascade = object()  # type: ignore[assignment]

    def randomised(images: torch.Tensor, level: int) -> torch.Tensor:
        pooled = torch.nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), GRID).squeeze(1)
        return (3 * pooled + level).cos()

    subject.cascade_maps = lambda images, classes: (randomised(images, level) for level in (1, 2))
    subject.last_maps = lambda images, classes: randomised(images, 2)
    assert subject.explain is not None
    found = {name: value_of(name, subject) for name in ("mprt", "smprt", "emprt")}
    noise = normals(case.keys, (5, 3, SIZE, SIZE), 0, "mprt")

    def entropy(values: np.ndarray) -> float:
        counts, _ = np.histogram(
            (values - values.min()) / (values.max() - values.min()), bins=100, range=(0, 1)
        )
        return float(stats.entropy(counts))

    for i in range(3):
        image, chosen = case.images[i : i + 1], case.classes[i : i + 1]
        original = subject.explain(image, chosen)[0].numpy().ravel()
        levels = [randomised(image, level)[0].numpy().ravel() for level in (1, 2)]
        similar = [stats.spearmanr(original, level).statistic for level in levels]
        assert found["mprt"][i] == pytest.approx(np.mean(similar), abs=1e-5)
        assert found["emprt"][i] == pytest.approx(entropy(levels[1]) / entropy(original) - 1, abs=1e-5)
        span = float(image.max() - image.min())
        copies = [image + 0.2 * span * noise[i, draw] for draw in range(5)]
        smooth = np.mean([subject.explain(copy, chosen)[0].numpy().ravel() for copy in copies], axis=0)
        similar = []
        for level in (1, 2):
            averaged = np.mean([randomised(copy, level)[0].numpy().ravel() for copy in copies], axis=0)
            similar.append(stats.spearmanr(smooth, averaged).statistic)
        assert found["smprt"][i] == pytest.approx(np.mean(similar), abs=1e-5)


def test_weights_are_drawn_anew_from_the_top() -> None:
    """Level by level: the classifier, the last block, the first block, the rest; what was drawn stays drawn."""
    from vitscope.evaluation.cascade import Cascade

    vit = random_vit(16, embed_dim=12, depth=2, num_heads=2, num_classes=3)
    model = vit.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cascade = Cascade(vit, seed=4)
    assert cascade.names == ("head", "blocks.1", "blocks.0", "rest")
    touched: set[str] = set()
    for name, opened in zip(cascade.names, cascade.levels(), strict=True):
        state = opened.model.state_dict()
        changed = {key for key, value in state.items() if not torch.equal(value, before[key])}
        expected = {key for key in before if key.startswith(f"{name}.")} if name != "rest" else set(before)
        assert changed >= expected
        assert changed == touched | expected
        touched = changed
        last = {key: value.clone() for key, value in state.items()}
    (again,) = Cascade(vit, seed=4).last()
    assert again is not vit
    for key, value in last.items():
        assert not torch.equal(value, before[key])
        assert torch.equal(model.state_dict()[key], before[key]), "the user's model is as it was"
    (other,) = (dict(opened.model.state_dict()) for opened in Cascade(vit, seed=4).last())
    assert set(other) == set(last)
