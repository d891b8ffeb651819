"""From what one watched pass showed to the model's anatomy: blocks, attention sites, token layout, pooling, classes."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vitscope.errors import ModelError
from vitscope.models.anatomy import Anatomy, BlockInfo, SiteInfo
from vitscope.models.token_layout import TokenLayout
from vitscope.tracing.calls.calling import Inputs, batch_of, order_of_patches, pictures_of
from vitscope.tracing.calls.outputs import choose, leaves, scores_of
from vitscope.tracing.interception.provenance import reads_of, sites_in
from vitscope.tracing.probing.chains import find_chain
from vitscope.tracing.probing.layout import find_layout, name_prefix, prefix_names
from vitscope.tracing.probing.overrides import Overrides
from vitscope.tracing.probing.ownership import Owners, form_of, kind_of, main_length
from vitscope.tracing.probing.pooling_rule import pooling_of
from vitscope.tracing.probing.recorder import Key, Recorder


@dataclass(frozen=True)
class Probe:
    """What a probe learned: the anatomy, and which convolution call made the patch embedding."""

    anatomy: Anatomy
    embedding_call: int | None


class Conclusion:
    """Turns what a pass showed into an Anatomy."""

    def __init__(
        self,
        model: nn.Module,
        inputs: Inputs,
        output: Any,
        recorder: Recorder,
        overrides: Overrides,
        output_kind: str,
    ) -> None:
        self.model, self.output, self.recorder, self.overrides = model, output, recorder, overrides
        self.output_kind = output_kind
        self.B = batch_of(inputs)
        pictures = pictures_of(inputs)
        self.size = None if pictures is None else (int(pictures.shape[-2]), int(pictures.shape[-1]))
        self.film = pictures is not None and pictures.dim() == 5
        self.notes: list[str] = []
        width = getattr(model, "num_classes", None) if overrides.classes is None else overrides.classes
        chosen = choose(output, self.B, width if isinstance(width, int) else None, overrides.output)
        self.path = chosen.path
        self.notes.extend(chosen.notes)
        self.logits = None if chosen.path is None else scores_of(output, chosen.path, self.B)
        self.read = self._all_of(output) if self.logits is None else self.logits
        if order_of_patches(model, inputs):
            self.notes.append(
                "a masked autoencoder: rising noise keeps its tokens in the order of the patches"
            )
        self.owners = Owners(model, recorder, self.read, overrides.blocks)
        self.asunder = self._follow_chain(sites_in(reads_of(output)))

    def probe(self, source: str, family: str) -> Probe:
        sites = self._sites()
        blocks = self._blocks(sites)
        layout, embedding_call = self._layout(sites)
        trailing = self._trailing(layout)
        if trailing:
            layout, embedding_call = None, None
            self.notes.append(f"tokens that follow the patches: {trailing}; maps over tokens are refused")
        loose = next((block.path for block in blocks if not block.whole), None)
        if loose is not None:
            self.notes.append(
                f"the residual stream goes around '{loose}', so it is not what this block returns"
            )
        last_site = max((site.index for site in sites if site.block is not None), default=-1)
        pools = [s.index for s in sites if s.kind == "pool" and s.index > last_site]
        pool = next(
            (index for index in reversed(pools) if self.owners.read(self.recorder.sites[index])), None
        )
        pooling, readout = "none", None
        last = self.owners.run(self.owners.blocks[-1]) if blocks else None
        tokens = last.output if last is not None else None
        if blocks and layout is not None and self.read is not None:
            last_block = blocks[-1]
            pooling, readout = pooling_of(
                self.read, tokens, last_block, layout, pool is not None, self.overrides.pooling
            )  # fmt: skip
            if self.overrides.pooling is not None:
                seen, _ = pooling_of(self.read, tokens, last_block, layout, pool is not None, None)
                if seen != pooling:
                    self.notes.append(
                        f"pooling={pooling!r} was given, but the output is seen to read {seen!r}"
                    )
            if self.overrides.prefix is None:
                layout = name_prefix(layout, readout, text=self.size is None)
        classes, classifier = self._classifier()
        anatomy = Anatomy(
            family=family,
            source=source,
            image_size=self.size,
            layout=layout,
            blocks=tuple(blocks),
            sites=tuple(sites),
            pooling=self.overrides.pooling or pooling,
            pool_site=pool,
            classifier=classifier,
            classes=classes,
            parameters=sum(p.numel() for p in self.model.parameters()),
            readout=readout,
            post_norm=last is not None and id(last.output) in self.recorder.normed,
            convolves=self._convolves(layout),
            trailing=trailing,
            asunder=self.asunder,
            output=self.path,
            film=self.film,
            probability=self._probability(classes),
            notes=tuple(self.notes),
        )
        return Probe(anatomy, embedding_call)

    def _all_of(self, output: Any) -> Tensor | None:
        """Everything the model returns side by side, (B, ...): what leads to it leads to the output."""
        returned = [t for _, t in leaves(output) if t.dim() and t.shape[0] == self.B]
        real = [torch.view_as_real(t.resolve_conj()) if t.is_complex() else t for t in returned]
        parts = [t.float().reshape(self.B, t[0].numel()) for t in real]
        return torch.cat(parts, 1) if parts else None

    def _probability(self, classes: int | None) -> Literal["softmax", "sigmoid"]:
        """Sigmoid for one logit and for several labels a picture, where the model's configuration says so."""
        if self.overrides.probability is not None:
            return self.overrides.probability
        configs = (getattr(module, "config", None) for module in self.model.modules())
        several = any(
            getattr(config, "problem_type", None) == "multi_label_classification" for config in configs
        )
        return "sigmoid" if several or classes == 1 else "softmax"

    def _follow_chain(self, output: int) -> str | None:
        """Keep the blocks that lead to the output one after the other; the reason when they are no one chain."""
        owned = list(self.owners.of_site)
        links = self.owners.links()
        if not links:
            return None
        chain = find_chain(links, output)
        kept, dropped = {links[i].path for i in chain.members}, set(chain.aside)
        if kept & dropped:
            return f"'{min(kept & dropped)}' runs once for the output and once beside it; open the part that runs once"
        if chain.reason is None and chain.members:
            self.owners.keep(chain.members)
        if chain.aside:
            span = " to ".join(dict.fromkeys((chain.aside[0], chain.aside[-1])))
            self.notes.append(f"attention in {span} does not lead to the output and is left out")
        if chain.unseeing:
            span = " to ".join(dict.fromkeys((chain.unseeing[0], chain.unseeing[-1])))
            self.notes.append(f"attention in {span} reads no picture and is left out")
        return chain.reason or self._loose(owned, output)

    def _loose(self, owned: list[Key | None], output: int) -> str | None:
        """The reason when attention that leads to the output lies in no block; before the blocks it is only noted."""
        first = next(index for index, key in enumerate(owned) if key is not None)
        sites = self.recorder.sites
        loose = [
            index
            for index, key in enumerate(owned)
            if key is None and output >> index & 1 and sites[index].queries >= sites[index].keys
        ]
        inside = [index for index in loose if index > first]
        if not loose:
            return None
        place = sites[(inside or loose)[0]].stack[-1][0] or type(self.model).__name__
        if self.overrides.blocks is not None:
            self.notes.append(f"blocks= leaves out attention that leads to the output, such as '{place}'")
        elif not inside:
            self.notes.append(f"attention before the blocks, at '{place}', is not part of their chain")
        else:
            return (
                f"its attention at '{place}' lies in no module that returns as many tokens as it takes; name "
                "the blocks with blocks= if there are some"
            )
        return None

    def _sites(self) -> list[SiteInfo]:
        blocks = self.owners.blocks
        sites = []
        for index, (seen, owner) in enumerate(zip(self.recorder.sites, self.owners.of_site, strict=True)):
            kind = kind_of(seen, self.B, owner is not None, self.owners.run(owner))
            sites.append(
                SiteInfo(
                    index=index,
                    path=seen.stack[-1][0] if seen.stack else "",
                    kind=kind,
                    block=blocks.index(owner) if owner is not None else None,
                    heads=seen.heads or max(1, seen.leading // self.B),
                    head_width=seen.head_width,
                    queries=seen.queries,
                    keys=seen.keys,
                    fused=seen.fused,
                )
            )
        return sites

    def _blocks(self, sites: list[SiteInfo]) -> list[BlockInfo]:
        blocks: list[BlockInfo] = []
        keys = self.owners.blocks
        for index, key in enumerate(keys):
            own = tuple(site.index for site in sites if site.block == index)
            first, run = sites[own[0]], self.owners.run(key)
            assert run is not None
            out = run.output
            grids = {grid.size for grid in self.recorder.grids if grid.call is not None}
            form = form_of(run, self.B, self.recorder.sites[first.index], grids)
            block = BlockInfo(
                index=index,
                path=key[0],
                kind=first.kind,
                sites=own,
                heads=first.heads,
                width=first.heads * first.head_width,
                tokens=first.keys,
                whole=self.owners.whole(key, keys[index - 1] if index else None),
                form=form,
            )
            if out is not None:
                block = replace(block, width=block.as_sequence(out).shape[-1])
            counts = [block.as_sequence(t).shape[1] for t in [*run.inputs, out] if t is not None]
            blocks.append(replace(block, tokens=max(counts, default=first.keys)))
        return blocks

    def _layout(self, sites: list[SiteInfo]) -> tuple[TokenLayout | None, int | None]:
        runs = [self.owners.run(owner) for owner in self.owners.of_site]
        kinds = [site.kind for site in sites]
        main = main_length(zip(self.recorder.sites, kinds, runs, strict=True), self.B)
        return find_layout(
            self.recorder.grids, main, self.size, prefix_names(self.model), self.overrides.grid, self.overrides.prefix,
            self.notes, self.film,
        )  # fmt: skip

    def _trailing(self, layout: TokenLayout | None) -> int:
        """How many tokens follow the patches, where the tokens that are the same for every picture tell.

        They are as many as the layout takes for prefix tokens, but lie elsewhere: a class token at the end, YOLOS's
        detection tokens."""
        for key in self.owners.blocks if layout is not None else ():
            run = self.owners.run(key)
            for fixed in run.fixed if run is not None else ():
                if (
                    layout is None
                    or fixed.numel() != layout.tokens
                    or int(fixed.sum()) != layout.prefix_count
                ):
                    continue
                return int(fixed[layout.patch_slice].sum())
        return 0

    def _convolves(self, layout: TokenLayout | None) -> bool:
        """True when a spatial convolution runs over the patch grid between the blocks or inside them."""
        patches = layout.patches if layout is not None else None
        return any(
            tokens == patches and seen < len(self.recorder.sites) for seen, tokens, _ in self.recorder.mixing
        )

    def _classifier(self) -> tuple[int | None, str | None]:
        """Number of classes and the classifier's path; None when the output is a feature and not class scores."""
        last, path = self.recorder.last_linear or (None, None)
        logits, output = self.logits, self.output
        if self.overrides.classes and (logits is None or logits.shape[-1] != self.overrides.classes):
            found = "none" if logits is None else f"{logits.shape[-1]}"
            raise ModelError(
                f"classes={self.overrides.classes} was given, but what the model returns has {found} scores a picture; "
                "name the right part of its output with output="
            )
        if self.overrides.classes is not None:
            is_last = last is not None and logits is not None and last.shape == logits.shape
            return self.overrides.classes or None, path if is_last and self.overrides.classes else None
        if logits is None or self.output_kind == "embedding":
            return None, None
        width = int(logits.shape[-1])
        named = self.path is not None and self.path[-1:] == ("logits",)
        own = getattr(self.model, "num_classes", None)
        if named or self.output_kind == "logits":
            return width, path
        if isinstance(own, int):
            return (own, path) if own > 0 and own == width else (None, None)
        if last is not None and last is output and not re.search(r"proj(ection)?$", path or ""):
            return width, path
        return None, None
