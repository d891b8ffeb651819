"""Train the small ViT of a planted-evidence world and write it as a bundled model.

    python scripts/train_worlds.py shapes --out src/vitscope/assets

Writes WORLD.safetensors (float16) and WORLD.json, its card: architecture, preprocessing, classes, and what was
measured with the very weights that were written. Plain PyTorch on a CPU; a quarter of an hour or so on two cores.

Three things differ from everyday training:
* Most steps see only part of the patches (always those of the evidence): cheaper, and the model learns to work when
  patches are missing, which is what the perturbation metrics later do to it.
* Beside the class token, every patch has to say what it shows (token labelling, Jiang et al. 2021, arXiv 2104.10858)
  through a second head that is thrown away: a small model learns this from a tenth of the pictures.
* Some pictures have evidence painted over, and their target is uniform over the classes that are left open. So no
  class is what the model says when it sees nothing, and the planted evidence is what it has to use.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional

from vitscope.worlds import Sample, World, world, worlds
from vitscope.worlds.planted import TRAINING_SEEDS

MEAN, STD = [0.435, 0.435, 0.435], [0.13, 0.13, 0.13]
PATCH = 8
TEST_SEED, TEST_COUNT, BARE_COUNT = 90_001, 2500, 1000  # BARE: those that are also measured without evidence
UNCLEAR = -100
BLANK_SHARE = 0.08  # pictures of a batch whose evidence is all gone
PATCH_WEIGHT = 0.5  # of the loss of the patches
PART_SHARE = 0.4  # pictures of a batch that lack one part, in worlds of several parts
ARGUMENTS = (
    "steps",
    "batch",
    "rate",
    "seed",
    "few",
)  # what a round is made of, besides its world and its start


@dataclass(frozen=True)
class Batch:
    pictures: Tensor  # (n, 3, 96, 96) normalised
    targets: Tensor  # (n, classes), rows sum to 1
    evidence: Tensor  # (n, patches) bool: patches that the evidence touches
    shown: Tensor  # (n, patches): what each patch shows, 0 for none of the evidence, UNCLEAR where it is only touched


def architecture(made: World) -> dict[str, object]:
    """Arguments of timm's VisionTransformer."""
    return {
        "img_size": made.size, "patch_size": PATCH, "embed_dim": 128, "depth": 6, "num_heads": 4,
        "mlp_ratio": 4.0, "qkv_bias": True, "class_token": True, "global_pool": "token",
        "num_classes": len(made.classes),
    }  # fmt: skip


def normalise(pictures: np.ndarray) -> Tensor:
    """uint8 (n, 96, 96, 3) to float32 (n, 3, 96, 96)."""
    scaled = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255.0
    return (scaled - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def draw_batch(made: World, size: int, seed: int) -> Batch:
    """A fresh batch, in which some pictures lack a part or all of the evidence."""
    sample = made.sample(size, TRAINING_SEEDS + seed)
    rng = np.random.default_rng([seed, 1])
    pictures, classes = sample.pictures.copy(), len(made.classes)
    targets = np.eye(classes)[sample.labels]
    here = np.ones(sample.parts.shape[:2], dtype=bool)
    fate, parts = rng.random(size), sample.parts.shape[1]
    choices: list[tuple[np.ndarray, tuple[int, ...]]] = [(fate < BLANK_SHARE, ())]
    if parts > 1:
        step = PART_SHARE / parts
        choices += [
            ((fate >= BLANK_SHARE + p * step) & (fate < BLANK_SHARE + (p + 1) * step), (p,))
            for p in range(parts)
        ]
    for chosen, gone in choices:
        pictures[chosen] = sample.without(*gone)[chosen]
        left = made.compatible(sample.labels[chosen], *gone)
        targets[chosen] = left / left.sum(axis=1, keepdims=True)
        here[np.ix_(chosen, gone or range(sample.parts.shape[1]))] = False
    shown = patch_labels(made, sample, here)
    return Batch(
        normalise(pictures), torch.from_numpy(targets).float(), touched(sample), torch.from_numpy(shown)
    )


def evidence_kinds(made: World) -> list[tuple[str, ...]]:
    """What the patches of each part show, by class: its silhouette; the class where that is a place or a mark."""
    whole = made.recipe.by_place or not made.recipe.kinds
    return [(name,) for name in made.classes] if whole else list(made.recipe.kinds)


def silhouettes(made: World) -> list[str]:
    """All that a patch can show, apart from nothing."""
    return sorted({kind for kinds in evidence_kinds(made) for kind in kinds})


def patch_labels(made: World, sample: Sample, here: np.ndarray) -> np.ndarray:
    """What each patch shows (n, P), given which parts are there (n, parts)."""
    names, n, side = silhouettes(made), len(sample), made.size // PATCH
    kinds = np.array([[names.index(kind) for kind in kinds] for kinds in evidence_kinds(made)])
    shown = np.zeros((n, side, side), dtype=np.int64)
    for part in range(sample.parts.shape[1]):
        share = (
            sample.parts[:, part].reshape(n, side, PATCH, side, PATCH).mean(axis=(2, 4))
            * here[:, part, None, None]
        )
        number = (kinds[sample.labels, part] + 1)[:, None, None]
        shown = np.where(share >= 0.25, number, np.where(share > 0.0, UNCLEAR, shown))
    return shown.reshape(n, -1)


def jittered(pictures: Tensor) -> Tensor:
    """The pictures with their colour channels in another order, another contrast and a slight tint."""
    size = len(pictures)
    channels = torch.rand(size, 3).argsort(dim=1)[:, :, None, None].expand_as(pictures)
    contrast = 0.8 + 0.45 * torch.rand(size, 1, 1, 1)
    return pictures.gather(1, channels) * contrast + 0.15 * torch.randn(size, 3, 1, 1)


def touched(sample: Sample) -> Tensor:
    """Patches (n, P) that the evidence touches."""
    n, size = len(sample), sample.masks.shape[1]
    cells = sample.masks.reshape(n, size // PATCH, PATCH, size // PATCH, PATCH).any(axis=(2, 4))
    return torch.from_numpy(cells.reshape(n, -1))


def forward(
    model: VisionTransformer, reader: torch.nn.Linear, batch: Batch, patches: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (n, classes) from the class token, all evidence patches and random others: `patches` in all.

    Also what `reader` says each of these patches shows (n, patches, kinds + 1), and what it does show (n, patches).
    """
    shown = batch.shown
    tokens = model._pos_embed(model.patch_embed(jittered(batch.pictures)))
    count = batch.evidence.shape[1]
    if patches < count:
        order = torch.rand(batch.evidence.shape) + batch.evidence.float()
        kept = order.topk(patches, dim=1).indices
        shown = shown.gather(1, kept)
        kept = torch.cat([torch.zeros_like(kept[:, :1]), kept + 1], dim=1)
        tokens = tokens.gather(1, kept[..., None].expand(-1, -1, tokens.shape[-1]))
    read = model.norm(model.blocks(tokens))
    return model.forward_head(read), reader(read[:, 1:]), shown


def patch_loss(said: Tensor, shown: Tensor) -> Tensor:
    """Cross entropy over patches; evidence and ground weigh the same, though there is far more ground."""
    each = functional.cross_entropy(
        said.float().flatten(0, 1), shown.flatten(), reduction="none", ignore_index=UNCLEAR
    )
    lit, dark = shown.flatten() > 0, shown.flatten() == 0
    return each[lit].sum() / lit.sum().clamp_min(1) + each[dark].sum() / dark.sum().clamp_min(1)


def patches_at(progress: float, few: float, rng: np.random.Generator) -> int:
    """How many patches a step sees: 24, then 56, and after the share `few` of the steps a random number."""
    if progress < few:
        return 24 if progress < few / 2 else 56
    return int(rng.choice([56, 96, 144]))


def begin(made: World, start: Path | None, seed: int) -> VisionTransformer:
    """A fresh model, or one with the weights of an earlier round; a head for other classes starts fresh."""
    torch.manual_seed(seed)
    model = VisionTransformer(**architecture(made))
    if start is not None:
        known = {name: value.float() for name, value in load_file(start).items()}
        if known["head.weight"].shape != model.head.weight.shape:
            known = {name: value for name, value in known.items() if not name.startswith("head.")}
        model.load_state_dict(known, strict=False)
    return model


def train(model: VisionTransformer, made: World, options: argparse.Namespace, began: float) -> int:
    """AdamW with warm-up and a cosine schedule, over the steps or the minutes that are allowed, whichever ends first.

    began: when training began. Returns the steps made.
    """
    steps, size, seed = options.steps, options.batch, options.seed
    for block in model.blocks:
        block.attn.fused_attn = (
            False  # the plain product is four times faster than the fused one in bfloat16 here
        )
    reader = torch.nn.Linear(model.embed_dim, 1 + len(silhouettes(made)))
    parameters = [*model.parameters(), *reader.parameters()]
    decayed = [p for p in parameters if p.ndim > 1]
    plain = [p for p in parameters if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98))
    rng = np.random.default_rng(seed)
    losses: list[float] = []
    recent: deque[Batch] = deque(maxlen=8)
    with ThreadPoolExecutor(1) as painter:
        coming = [painter.submit(draw_batch, made, size, seed * 10**7 + ahead) for ahead in range(2)]
        step, progress = 0, 0.0
        while progress < 1.0:
            for group in optimiser.param_groups:
                group["lr"] = options.rate * min(
                    progress / 0.05 + 0.02, 0.5 * (1.0 + math.cos(math.pi * progress))
                )
            if step % 2 == 0:  # painting costs as much as learning: each batch serves twice, some steps apart
                recent.append(coming.pop(0).result())
                coming.append(painter.submit(draw_batch, made, size, seed * 10**7 + step // 2 + 2))
            batch = recent[-1] if step % 2 == 0 else recent[0]
            patches = patches_at(progress, options.few, rng)
            with torch.autocast("cpu", torch.bfloat16):
                logits, said, shown = forward(model, reader, batch, patches)
            class_loss = functional.cross_entropy(logits.float(), batch.targets)
            loss = class_loss + PATCH_WEIGHT * patch_loss(said, shown)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            losses.append(class_loss.item())
            step += 1
            seconds = time.monotonic() - began
            progress = max(step / steps, seconds / (60.0 * options.minutes))
            if step % 200 == 0:
                right = measure(model, made.sample(300, TRAINING_SEEDS * 2 + step))["accuracy"]
                print(
                    f"step {step}  loss {np.mean(losses[-200:]):.3f}  accuracy {right:.3f}  {seconds:.0f} s",
                    flush=True,
                )
    return step


@torch.inference_mode()
def probabilities(model: VisionTransformer, pictures: np.ndarray) -> np.ndarray:
    model.eval()
    chunks = [
        model(normalise(pictures[at : at + 250])).softmax(dim=-1) for at in range(0, len(pictures), 250)
    ]
    model.train()
    return torch.cat(chunks).numpy()


def measure(model: VisionTransformer, sample: Sample) -> dict[str, float]:
    return summarised(probabilities(model, sample.pictures), sample)


def summarised(chance: np.ndarray, sample: Sample) -> dict[str, float]:
    """Share of right answers, and mean probability of the true class, over the first len(chance) pictures."""
    labels = sample.labels[: len(chance)]
    return {
        "accuracy": float((chance.argmax(axis=1) == labels).mean()),
        "mean_probability": float(chance[np.arange(len(labels)), labels].mean()),
    }


def measure_without(model: VisionTransformer, sample: Sample, *gone: int) -> dict[str, float]:
    return summarised(probabilities(model, sample.without(*gone)[:BARE_COUNT]), sample)


def rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def write(
    model: VisionTransformer, made: World, out: Path, rounds: list[dict[str, object]]
) -> dict[str, object]:
    """Write weights and card; everything in the card is measured after reading the written weights back."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{made.name}.safetensors"
    save_file({name: value.detach().half().contiguous() for name, value in model.state_dict().items()}, path)
    shipped = VisionTransformer(**architecture(made))
    shipped.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    sample = made.sample(TEST_COUNT, TEST_SEED)
    whole = measure(shipped, sample)
    parts = {
        made.part_names[p]: rounded(measure_without(shipped, sample, p)) for p in range(len(made.part_names))
    }
    card: dict[str, object] = {
        "name": f"bundled/{made.name}",
        "world": made.name,
        "description": made.description,
        "architecture": architecture(made),
        "preprocess": {"size": made.size, "mean": MEAN, "std": STD},
        "classes": list(made.classes),
        "test": {
            "pictures": TEST_COUNT,
            "seed": TEST_SEED,
            "weights": "float16 as shipped, computed in float32",
            **rounded(whole),
            "chance": round(1.0 / len(made.classes), 4),
            "without_evidence": {"pictures": BARE_COUNT, **rounded(measure_without(shipped, sample))},
            **({"without_part": parts} if len(parts) > 1 else {}),
        },
        "training": {"script": "scripts/train_worlds.py", "rounds": rounds},
        "licence": "Apache-2.0",
    }
    (out / f"{made.name}.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return card


def earlier_rounds(start: Path | None) -> list[dict[str, object]]:
    """The rounds of training behind the weights that this one started from, as their card tells them."""
    if start is None:
        return []
    rounds: list[dict[str, object]] = json.loads(start.with_suffix(".json").read_text(encoding="utf-8"))[
        "training"
    ]["rounds"]
    return rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("world", choices=worlds())
    parser.add_argument("--out", type=Path, required=True, help="folder for WORLD.safetensors and WORLD.json")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--minutes", type=float, default=45.0, help="end then, whatever the steps")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--start", type=Path, help="weights to start from: an earlier round, or another world's model"
    )
    parser.add_argument("--few", type=float, default=0.6, help="share of the steps that see only few patches")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    made = world(options.world)
    began = time.monotonic()
    model = begin(made, options.start, options.seed)
    before = earlier_rounds(options.start)  # a missing card is noticed before the work, not after it
    options.steps = train(model, made, options, began)
    run = {
        "arguments": f"{made.name} " + " ".join(f"--{name} {vars(options)[name]}" for name in ARGUMENTS),
        "start": options.start.stem if options.start else None,
        "minutes": round((time.monotonic() - began) / 60.0, 1),
        "threads": options.threads,
        "torch": torch.__version__,
        "timm": timm.__version__,
    }
    rounds = [*before, run]
    card = write(model, made, options.out, rounds)
    print(json.dumps(card["test"], indent=2))


if __name__ == "__main__":
    main()
