"""Which modules are a model's blocks, and what each attention call does there: worked out from a recorded pass."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from vitscope.errors import ModelError
from vitscope.models.anatomy import SiteKind, TokenForm
from vitscope.tracing.interception.provenance import PICTURES, sites_in
from vitscope.tracing.probing.chains import Links
from vitscope.tracing.probing.recorder import Key, ModuleRun, Recorder, SiteSeen


def token_counts(run: ModuleRun | None, B: int) -> set[int]:
    """Numbers of tokens among what entered a module: (B, N, D), (N, B, D), (B, h, w, D) or (B, D, h, w)."""
    counts: set[int] = set()
    for tensor in run.inputs if run else []:
        a, b, c = tensor.shape[0], tensor.shape[1], tensor.shape[2]
        if tensor.dim() == 4:
            counts |= {b * c, c * tensor.shape[3]}
        else:
            counts.add(b if a == B or b != B else a)
    return counts


def form_of(run: ModuleRun, B: int, seen: SiteSeen, grids: Container[tuple[int, int]]) -> TokenForm:
    """How the tokens of a module lie, from what entered it and ``grids``, the sizes of the convolutions' maps."""
    for tokens in run.inputs:
        if tokens.dim() == 4:
            a, b, c = tokens.shape[1:]
            first, last = (b, c) in grids, (a, b) in grids
            if first == last:  # both or none were seen: the number of tokens decides
                counts = {seen.keys, seen.queries, seen.head_width}
                first, last = b * c in counts, a * b in counts
            return "channels-first" if first and not last else "channels-last"
        if tokens.dim() == 3 and tokens.shape[0] == seen.keys and tokens.shape[1] == B != seen.keys:
            return "tokens-first"
    return "sequence"


class Owners:
    """The block of each site.

    A block is the outermost module that holds one site only and returns what entered in shape. When the stream
    goes around such modules (parallel attentions, self and cross attention in one block), the module around them
    that the whole stream passes through is taken. A site without such a module (attention pooling) has none."""

    def __init__(
        self, model: nn.Module, recorder: Recorder, logits: Tensor | None, chosen: tuple[str, ...] | None
    ) -> None:
        self.recorder = recorder
        self._root = logits.grad_fn if logits is not None else None
        self._whole: dict[tuple[Key, Key | None], bool] = {}
        self._single = {
            path
            for path, module in model.named_modules()
            if isinstance(module, nn.Sequential) and len(module) == 1
        }  # a container of one looks just like what it holds
        if chosen is not None:
            self.of_site = self._chosen(model, chosen)
        else:
            self.of_site = [self._alone(seen) for seen in recorder.sites]
            self.of_site = [
                self._lifted(seen, key) for seen, key in zip(recorder.sites, self.of_site, strict=True)
            ]

    def links(self) -> list[Links]:
        """Each block's place in the data flow."""
        bits = dict.fromkeys(self.blocks, 0)
        for index, key in enumerate(self.of_site):
            if key is not None:
                bits[key] |= 1 << index
        marks = {key: self.recorder.runs[key].reads for key in self.blocks}
        return [
            Links(key[0], bits[key], sites_in(marks[key]), bool(marks[key] & PICTURES)) for key in self.blocks
        ]

    def keep(self, members: Sequence[int]) -> None:
        """Count only these of the blocks; the sites of the others belong to none."""
        kept = {self.blocks[index] for index in members}
        self.of_site = [key if key in kept else None for key in self.of_site]

    @property
    def blocks(self) -> list[Key]:
        """The blocks in the order of their sites."""
        return list(dict.fromkeys(key for key in self.of_site if key is not None))

    def run(self, key: Key | None) -> ModuleRun | None:
        """What went in and out of a block."""
        return self.recorder.runs.get(key) if key is not None else None

    def whole(self, key: Key, before: Key | None = None) -> bool:
        """True when nothing of the stream gets around the module to the logits: neither what enters it, nor what
        the block ``before`` it returned."""
        if (key, before) not in self._whole:
            self._whole[key, before] = self._check_whole(self.recorder.runs[key], self.run(before))
        return self._whole[key, before]

    def read(self, seen: SiteSeen) -> bool:
        """True when the logits depend on the site's output (a pooling may be computed and not used)."""
        return self._root is None or seen.node is None or _reaches(self._root, [seen.node], None)

    def _chosen(self, model: nn.Module, chosen: tuple[str, ...]) -> list[Key | None]:
        known = {name for name, _ in model.named_modules()}
        missing = [path for path in chosen if path not in known]
        if missing:
            raise ModelError(
                f"blocks= names '{missing[0]}', which the model does not have; see model.named_modules()"
            )
        owners = [next((key for key in seen.stack if key[0] in chosen), None) for seen in self.recorder.sites]
        idle = [path for path in chosen if path not in {key[0] for key in owners if key is not None}]
        if idle:
            raise ModelError(
                f"blocks= names '{idle[0]}', in which no attention was seen, or which lies inside another; name "
                "the outermost modules that hold one attention each"
            )
        return owners

    def _alone(self, seen: SiteSeen) -> Key | None:
        others = {key for other in self.recorder.sites if other is not seen for key in other.stack}
        inside = [key for key in seen.stack if key[0] and key not in others]
        keeping = [
            key for key in inside if self.recorder.runs[key].keeps_tokens and key[0] not in self._single
        ]
        if seen.queries < seen.keys and inside and inside[0] not in keeping:
            return None  # the outermost module turns many tokens into few: a pooling, whatever is inside it
        if len(self.recorder.sites) == 1:  # one block: a container around it looks just like it
            keeping = [key for key in keeping if re.search(r"\d$", key[0])] or keeping
        return keeping[0] if keeping else None

    def _lifted(self, seen: SiteSeen, key: Key | None) -> Key | None:
        if key is None or self.whole(key):
            return key
        around = seen.stack[: seen.stack.index(key)]
        for outer in reversed(around):
            held = sum(outer in other.stack for other in self.recorder.sites)
            block = outer[0] and held < len(self.recorder.sites) and self.recorder.runs[outer].keeps_tokens
            if block and self.whole(outer):
                return outer
        return key

    def _check_whole(self, run: ModuleRun, before: ModuleRun | None) -> bool:
        if self._root is None or run.output is None or run.output_node is None:
            return True
        stream = [*zip(run.inputs, run.input_nodes, strict=True)]
        if before is not None and before.output is not None:
            stream.append((before.output, before.output_node))
        goals = [
            n for t, n in stream if n is not None and n is not run.output_node and t.shape == run.output.shape
        ]
        return not _reaches(self._root, goals, run.output_node)


def _reaches(root: Any, goals: Iterable[Any], gate: Any) -> bool:
    """True when a way leads from ``root`` back to one of ``goals`` without passing ``gate``."""
    wanted, seen, queue = set(goals), {root, gate}, [root]
    while queue:
        node = queue.pop()
        if node is gate:
            continue
        if node in wanted:
            return True
        for parent, _ in node.next_functions:
            if parent is not None and parent not in seen:
                seen.add(parent)
                queue.append(parent)
    return False


def kind_of(seen: SiteSeen, B: int, in_block: bool, run: ModuleRun | None) -> SiteKind:
    """How the queries and keys of a site relate to the tokens that entered its block."""
    folded = seen.heads == 0 and seen.leading % B == 0
    entering = token_counts(run, B)
    if seen.dims > 4 or (seen.leading != B and not folded):
        return "window"
    if not in_block:
        return "pool" if seen.queries < seen.keys else "other"
    if folded and seen.leading != B and seen.keys not in entering:
        return "window"
    if seen.queries == 1 and seen.keys > 1:
        return "class"
    if seen.queries == seen.keys and seen.keys in entering:
        return "self"
    if seen.queries == seen.keys and seen.head_width in entering:
        return "cross-covariance"
    if seen.queries in entering and seen.keys < seen.queries:
        return "reduced"
    return "self" if seen.queries == seen.keys else "other"


def main_length(
    sites: Iterable[tuple[SiteSeen, SiteKind, ModuleRun | None]], B: int
) -> tuple[int, int] | None:
    """(tokens N, how many grids had been seen) of the main sequence, from the last site inside a block that tells."""
    found: tuple[int, int] | None = None
    for seen, kind, run in sites:
        if run is not None and kind in ("self", "class"):
            found = (seen.keys, seen.grids)
        elif run is not None and kind == "cross-covariance":
            found = (seen.head_width, seen.grids)
        elif found is None and run is None and kind == "other" and seen.queries == seen.keys:
            found = (seen.keys, seen.grids)
    return found
