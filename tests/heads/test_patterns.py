"""Moments, autoencoder, clusters and names on made-up maps; two models with different grids in one atlas."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from scipy.stats import kendalltau, spearmanr
from sklearn.metrics import adjusted_rand_score

import vitscope as vs
from tests.watching import Recorder
from vitscope import heads
from vitscope.errors import StorageError
from vitscope.heads import AutoencoderOptions
from vitscope.heads.atlas.autoencoder import mean_error, squared_error
from vitscope.heads.atlas.clustering import choose_clusters, fit_clusters, mean_adjusted_rand_index
from vitscope.heads.atlas.coding import CoderReport, split_pictures, verdict
from vitscope.heads.atlas.display import layout_codes
from vitscope.heads.atlas.pattern_names import name_pattern
from vitscope.heads.atlas.principal import fit_principal
from vitscope.heads.atlas.training import train_autoencoder
from vitscope.heads.rankings.correlation import kendall_matrix, spearman_matrix
from vitscope.reports.heads.plots.labels import few_groups
from vitscope.storage import folders, tensors
from vitscope.sums.moments import Moments


def test_streamed_moments_equal_numpy() -> None:
    values = torch.randn(17, 3, 2, generator=torch.Generator().manual_seed(0)) + 100
    moments = Moments()
    for part in values.split(5):
        moments.add(part)
    np.testing.assert_allclose(moments.mean, values.double().mean(0), rtol=1e-12)
    np.testing.assert_allclose(moments.spread(), values.double().std(0), rtol=1e-9)


def made_up_maps(count: int = 96, seed: int = 0) -> torch.Tensor:
    """(count, 27, 27) root maps of three kinds."""
    generator = torch.Generator().manual_seed(seed)
    maps = 0.2 * torch.rand(count, 27, 27, generator=generator)
    for i in range(count):
        maps[i, 13 if i % 3 == 0 else slice(None), 13 if i % 3 == 1 else slice(None)] += 1.0
    return (maps / maps.sum((1, 2), keepdim=True)).sqrt()


def test_training_resumes_bit_equal_from_its_checkpoint(tmp_path: Path) -> None:
    maps, held = made_up_maps(), made_up_maps(24, 1)
    options = AutoencoderOptions(latent=4, width=4, epochs=6, patience=9)
    random = torch.random.get_rng_state()
    whole, history = train_autoencoder(maps, held, options)
    assert torch.equal(torch.random.get_rng_state(), random)

    file = tmp_path / "training.safetensors"
    with pytest.raises(KeyboardInterrupt):  # after the third epoch
        train_autoencoder(maps, held, options, checkpoint=file, progress=Recorder(interrupt=4))
    again, second = train_autoencoder(maps, held, options, checkpoint=file)
    assert [step.number for step in second] == [1, 2, 3, 4, 5, 6]
    assert [step.held_out_error for step in second] == [step.held_out_error for step in history]
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True)
    )
    assert history[-1].best_error < history[0].held_out_error
    with pytest.raises(heads.HeadsError, match="delete it"):
        train_autoencoder(maps, held, AutoencoderOptions(latent=5, width=4), checkpoint=file)
    for damaged in (b"nothing", b"", file.read_bytes()[:-9]):
        file.write_bytes(damaged)
        anew, third = train_autoencoder(maps, held, options, checkpoint=file)
        assert len(third) == 6 and torch.equal(anew.to_code.weight, whole.to_code.weight)


def test_a_checkpoint_of_other_maps_or_of_something_else_is_refused(tmp_path: Path) -> None:
    """As many maps of another model would otherwise get this model's autoencoder."""
    options = AutoencoderOptions(latent=3, width=4, epochs=1)
    file = tmp_path / "training.safetensors"
    train_autoencoder(made_up_maps(), made_up_maps(24, 1), options, checkpoint=file)
    for train, held in ((made_up_maps(seed=5), made_up_maps(24, 1)), (made_up_maps(), made_up_maps(24, 2))):
        with pytest.raises(heads.HeadsError, match="another run's; delete it"):
            train_autoencoder(train, held, options, checkpoint=file)
    for another in (
        tensors.encode("memory bank", {"features": torch.ones(1, 1)}, {}),
        safetensors.torch.save({"weight": torch.ones(1)}),
    ):
        file.write_bytes(another)
        with pytest.raises(StorageError):
            train_autoencoder(made_up_maps(), made_up_maps(24, 1), options, checkpoint=file)
        assert file.read_bytes() == another


def test_codes_shrink_with_few_maps_unless_their_size_is_given() -> None:
    assert [AutoencoderOptions().code_size(maps) for maps in (4, 12, 60, 2700)] == [2, 3, 15, 24]
    assert AutoencoderOptions(latent=5).code_size(4) == 5


def test_a_plot_of_many_patterns_keeps_the_commonest_nine() -> None:
    names = [f"pattern {i}" for i in range(12) for _ in range(12 - i)]
    found = few_groups(names)
    assert [a for a, b in zip(found, names, strict=True) if a == b] == names[:72] and len(set(found)) == 10
    assert few_groups(names[:75]) == names[:75]


def test_training_stops_early_and_keeps_the_best_weights() -> None:
    """Held-out maps that are noise cannot be learned, so the error stops falling long before the last epoch."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(24, 27, 27, generator=generator)
    noise = (noise / noise.sum((1, 2), keepdim=True)).sqrt()
    options = AutoencoderOptions(latent=4, width=4, epochs=60, patience=2, learning_rate=2e-2)
    watched = Recorder()
    model, history = train_autoencoder(made_up_maps(32), noise, options, progress=watched)
    errors = [step.held_out_error for step in history]
    best = int(np.argmin(errors))
    assert len(history) == best + 1 + 1 + options.patience < 60
    # Epochs that were not needed count as done.
    (stage,) = watched.stages
    assert (stage.total, stage.advanced) == (60, [1] * len(history) + [60 - len(history)])
    assert mean_error(model, noise) == pytest.approx(errors[best], rel=1e-5)
    again, _ = train_autoencoder(made_up_maps(32), noise, options)
    other, _ = train_autoencoder(made_up_maps(32), noise, AutoencoderOptions(**{**vars(options), "seed": 1}))
    weights = [twin.state_dict()["to_code.weight"] for twin in (model, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_errors_of_both_coders_equal_their_formula() -> None:
    maps = made_up_maps(40)
    model, _ = train_autoencoder(maps, maps[:8], AutoencoderOptions(latent=3, width=4, epochs=1))
    with torch.no_grad():
        twin = sum(float(((m - model(m[None])[0]) ** 2).sum()) for m in maps) / 40
    assert mean_error(model, maps) == pytest.approx(twin, rel=1e-4)
    principal = fit_principal(maps, 3)
    flat = maps.flatten(1).double()
    centred = flat - flat.mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    rest = centred - centred @ directions[:3].T @ directions[:3]
    assert principal.mean_error(maps) == pytest.approx(float(rest.square().sum(1).mean()), rel=1e-3)
    assert float(squared_error(maps[:1], maps[:1])) == 0


def test_clusters_are_found_counted_and_stable() -> None:
    random = np.random.default_rng(0)
    truth = np.repeat(np.arange(4), 40)
    codes = (np.eye(4)[truth] * 10 + random.normal(size=(160, 4))).astype(np.float32)
    choice = choose_clusters(codes, range(2, 8), groups=np.tile(np.arange(40), 4), rounds=4)
    assert choice.chosen == 4 and choice.stability[4] > 0.99
    labels = fit_clusters(codes, 4).assign(codes)
    assert adjusted_rand_score(labels, truth) == 1
    assert mean_adjusted_rand_index([labels, truth]) == 1
    with pytest.raises(heads.HeadsError, match="change k"):
        fit_clusters(codes, 999)


def test_held_out_pictures_are_never_trained_on() -> None:
    pictures = np.repeat(np.arange(20), 7)
    train, held = split_pictures(pictures, 0.25, 0)
    assert not set(pictures[train]) & set(pictures[held]) and len(set(pictures[held])) == 5
    assert sorted([*train, *held]) == list(range(140))


def test_the_verdict_names_the_better_coder() -> None:
    def report(name: str, error: float, ari: float) -> CoderReport:
        return CoderReport(name, 8, error, error, ari, ari, 1.0)

    assert verdict(report("autoencoder", 0.5, 0.9), report("pca", 0.4, 0.8))[0] == "pca"
    winner, words = verdict(report("autoencoder", 0.3, 0.9), report("pca", 0.4, 0.8))
    assert winner == "autoencoder" and words.startswith("The autoencoder wins")
    assert verdict(report("autoencoder", 0.4, 0.9), report("pca", 0.4, 0.8))[0] == "autoencoder"
    assert "more stable" in verdict(report("autoencoder", 0.3, 0.2), report("pca", 0.4, 0.8))[1]


def test_umap_is_for_display_and_changes_nothing_else() -> None:
    pytest.importorskip("umap")
    random = np.random.default_rng(0)
    truth = np.repeat(np.arange(3), 20)
    codes = (np.eye(3)[truth] * 20 + random.normal(size=(60, 3))).astype(np.float32)
    placed, how = layout_codes(codes, "umap", seed=0)
    assert how == "umap" and placed.shape == (60, 2)
    centres = np.stack([placed[truth == c].mean(0) for c in range(3)])
    nearest = ((placed[:, None] - centres[None]) ** 2).sum(-1).argmin(1)
    assert (nearest == truth).all()
    assert layout_codes(codes, "pca")[1] == "pca" and layout_codes(codes[:5], "umap")[1] == "pca"
    sample = heads.collect_maps(small_vit(), torch.randn(6, 3, 64, 64), per_head=6)
    with pytest.raises(heads.HeadsError, match="display as 'umap', 'umap!' or 'pca', got 'tsne'"):
        heads.fit_atlas(sample, display="tsne")  # type: ignore[arg-type]
    options = AutoencoderOptions(latent=3, width=4, epochs=1)
    one, two = (
        heads.fit_atlas(sample, options=options, k=3, repeats=0, display=display)
        for display in ("umap", "pca")
    )
    np.testing.assert_array_equal(one.maps["cluster"], two.maps["cluster"])
    np.testing.assert_array_equal(one.codes, two.codes)
    assert not np.allclose(one.maps[["x", "y"]], two.maps[["x", "y"]])


def test_dependence_on_content_is_the_variance_over_pictures_at_a_fixed_query() -> None:
    vit = small_vit()
    x = torch.randn(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    same = heads.collect_maps(vit, x[:1].repeat(4, 1, 1, 1)).means[0].content_dependence()
    np.testing.assert_allclose(same, 0, atol=1e-4)
    found = heads.collect_maps(vit, x, batch_size=2).means[0]
    trace = vit.trace(x, gradient=False)
    for stream, (block, head) in enumerate(zip(found.block, found.head, strict=True)):
        A = trace.sites[block].attention()[:, head, 1:, 1:]
        A = (A / A.sum(-1, keepdim=True)).double()
        # A 4 x 4 grid on 7 x 7 cells: overlapping shares of a patch go to each cell, queries are averages.
        U = torch.zeros(7, 4, dtype=torch.float64)
        for cell in range(7):
            for patch in range(4):
                low, high = max(cell / 7, patch / 4), min((cell + 1) / 7, (patch + 1) / 4)
                U[cell, patch] = max(0.0, high - low)
        keys = torch.kron(U * 4, U * 4)
        queries = torch.kron(U * 7, U * 7)
        root = (queries @ A @ keys.T).sqrt()
        variance = (root - root.mean(0)).square().sum(-1).mean()
        assert found.content_dependence()[stream] == pytest.approx(float(variance), abs=1e-3)


def small_vit() -> vs.Vit:
    torch.manual_seed(0)
    made = timm.create_model(
        "vit_tiny_patch16_224", img_size=64, embed_dim=24, depth=2, num_heads=2, num_classes=3
    )
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() == 2:
                parameter.mul_(6)
    return vs.open_model(made, image_size=64)


@pytest.mark.parametrize("harm", ["manifest", "arrays", "table", "missing", "key", "shape", "form", "giant"])
def test_a_damaged_atlas_is_refused_in_one_line(tmp_path: Path, harm: str) -> None:
    sample = heads.collect_maps(small_vit(), torch.randn(4, 3, 64, 64))
    options = AutoencoderOptions(latent=2, width=4, epochs=1)
    folder = heads.fit_atlas(sample, options=options, k=2, repeats=0, display="pca").save(tmp_path / "atlas")
    again = heads.PatternAtlas.load(folder).save(tmp_path / "again")
    assert sorted(p.read_bytes() for p in folder.iterdir()) == sorted(p.read_bytes() for p in again.iterdir())
    parts, note = folders.load(folder, "pattern atlas")
    if harm == "manifest":
        (folder / "manifest.json").write_text("{")
    elif harm in ("arrays", "table"):
        next(folder.glob("arrays-*" if harm == "arrays" else "maps-*")).write_bytes(b"x" * 40)
    elif harm == "missing":
        del parts["heads.parquet"]
        folders.save(folder, "pattern atlas", parts, note)
    else:
        if harm == "key":
            del note["patterns"]
        elif harm == "form":
            note["form"] = "other"
        else:
            note["autoencoder"]["latent"] = {"shape": 7, "giant": 10**11}[harm]
        folders.save(folder, "pattern atlas", parts, note)
    with pytest.raises(StorageError) as caught:
        heads.PatternAtlas.load(folder)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def hand_made(kind: str, side: int = 8) -> torch.Tensor:
    """One (P, P) attention per pattern, written pair by pair."""
    P = side * side
    A = torch.full((P, P), 1e-3)
    for q in range(P):
        y, x = divmod(q, side)
        for n in range(P):
            v, u = divmod(n, side)
            here = {
                "self": q == n,
                "left neighbour": (v, u) == (y, max(0, x - 1)),
                "right neighbour": (v, u) == (y, min(side - 1, x + 1)),
                "up neighbour": (v, u) == (max(0, y - 1), x),
                "down neighbour": (v, u) == (min(side - 1, y + 1), x),
                "local ring": max(abs(v - y), abs(u - x)) == 1,
                "row": v == y,
                "column": u == x,
                "fixed-key stripe": n in (9, 30),
                "uniform": True,
            }[kind]
            A[q, n] += float(here)
    return A / A.sum(-1, keepdim=True)


@pytest.mark.parametrize(
    "kind",
    [
        "self",
        "left neighbour",
        "right neighbour",
        "up neighbour",
        "down neighbour",
        "local ring",
        "row",
        "column",
        "fixed-key stripe",
        "uniform",
    ],
)
def test_hand_made_patterns_get_their_names(kind: str) -> None:
    from vitscope.heads.atlas.features import map_features, uniform_features

    features = map_features(hand_made(kind), (8, 8)).numpy()
    found = name_pattern(features, uniform_features((8, 8)).numpy(), 0.0)
    assert found.name == kind and found.because


def test_rank_correlations_equal_scipy() -> None:
    random = np.random.default_rng(1)
    for missing in (0.0, 0.2):
        scores = np.stack(
            [random.integers(0, 9, 40).astype(float), *random.normal(size=(2, 40)), np.ones(40)]
        )
        scores[random.random(scores.shape) < missing] = np.nan
        for measure, peer in ((spearman_matrix, spearmanr), (kendall_matrix, kendalltau)):
            found = measure(scores)
            for i, j in itertools.product(range(3), range(3)):
                both = np.isfinite(scores[i]) & np.isfinite(scores[j])
                assert found[i, j] == pytest.approx(peer(scores[i][both], scores[j][both]).statistic)
            assert np.isnan(found[3, :3]).all() and np.isnan(found[:3, 3]).all()
            assert np.isnan(measure(scores[:3, :2])[0, 1]), "two heads rank nothing"


def test_agreement_intervals_hold_the_value_and_shrink_with_pictures() -> None:
    random = np.random.default_rng(2)
    truth = random.normal(size=(1, 4, 3))
    widths = []
    for n in (10, 160):
        values = {name: (truth + random.normal(size=(n, 4, 3))).astype(np.float32) for name in ("a", "b")}
        table = heads.HeadTable(values, tuple(str(i) for i in range(n)))
        found = heads.agree(table, rounds=80).correlation("a", "b")
        means = [array.mean(0).ravel() for array in values.values()]
        assert found.value == pytest.approx(spearmanr(*means).statistic)
        assert found.low <= found.value <= found.high
        widths.append(found.high - found.low)
    assert widths[1] < widths[0]


def test_two_models_with_different_grids_share_an_atlas() -> None:
    def model(size: tuple[int, int], depth: int) -> vs.Vit:
        torch.manual_seed(depth)
        made = timm.create_model(
            "vit_tiny_patch16_224", img_size=size, embed_dim=24, depth=depth, num_heads=2, num_classes=3
        )
        return vs.open_model(made, image_size=size)

    wide, square = model((48, 80), 2), model((64, 64), 3)
    samples = [
        heads.collect_maps(vit, torch.randn(4, 3, *vit.image_size), per_head=3, name=name)
        for vit, name in ((wide, "wide"), (square, "square"))
    ]
    joined = samples[0].join(samples[1])
    assert len(joined) == 3 * (2 * 2 + 3 * 2)
    options = AutoencoderOptions(latent=3, width=4, epochs=2)
    atlas = heads.fit_atlas(joined, options=options, k=3, repeats=2, display="pca", form="offset")
    assert set(atlas.maps["model"]) == {"wide", "square"} and len(atlas.heads) == 10
    assert np.isfinite(atlas.report["coders"]["pca"]["halves_ari"])
    placed = atlas.map_pictures(square, torch.randn(2, 3, 64, 64))
    assert len(placed.heads) == 6
    shares = placed.heads[[f"share_{c}" for c in range(3)]].sum(1)
    np.testing.assert_allclose(shares, 1)


def test_strength_streams_and_survives_a_round_trip(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = timm.create_model(
        "vit_tiny_patch16_224", img_size=48, embed_dim=24, depth=2, num_heads=2, num_classes=3
    )
    vit = vs.open_model(made, image_size=48)
    x = torch.randn(7, 3, 48, 48)
    whole, streamed = heads.strength(vit, x, batch_size=7), heads.strength(vit, x, batch_size=2)
    for name, value in whole.values.items():
        np.testing.assert_allclose(streamed[name], value, rtol=1e-5, atol=1e-8, equal_nan=True)
        np.testing.assert_allclose(
            streamed.spreads[name], whole.spreads[name], rtol=1e-3, atol=1e-7, equal_nan=True
        )
    again = heads.StrengthProfile.load(whole.save(tmp_path / "strength.safetensors"))
    assert again.prefix == ("class",) and again.grid == (3, 3)
    np.testing.assert_array_equal(again["mass"], whole["mass"])
    assert len(again.to_pandas()) == 2 * 2 * 3 and len(again.trend()) == 2
    total = again["mass"].sum(-1) + again["to_prefix"].sum(-1)
    np.testing.assert_allclose(total, 1, atol=1e-5)
