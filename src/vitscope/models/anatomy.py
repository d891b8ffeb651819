"""What is known of a model: records only, no torch modules and no learning (see ``tracing.probing`` for that)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from vitscope.models.token_layout import TokenLayout
from vitscope.shown import drawn_by

SiteKind = Literal["self", "class", "pool", "window", "cross-covariance", "reduced", "other"]
"""How queries and keys of one attention call relate to the tokens.

``self``: every token asks every token. ``class``: one class query asks every token (CaiT, XCiT, VOLO).
``pool``: a learned query reads the tokens after the last block (SigLIP). ``window``: tokens are split into
windows, so the batch axis is not the picture axis (Swin, MaxViT). ``cross-covariance``: channels attend to
channels (XCiT). ``reduced``: queries and keys are different token sets (PVT, Twins). ``other``: anything else.
"""


TokenForm = Literal["sequence", "tokens-first", "channels-last", "channels-first"]
"""How a block takes its tokens: (B, N, D), (N, B, D), (B, h, w, D) or, in hybrids with convolutions, (B, D, h, w)."""


@dataclass(frozen=True)
class SiteInfo:
    """One attention call as the probe saw it.

    index: its place in the order of calls. path: the module that made it. block: the block that it belongs to, None
    outside all. queries, keys: tokens of one picture. fused: whether PyTorch's fused attention was called.

    Example:
        >>> import vitscope as vs
        >>> site = vs.open_model("bundled/shapes").anatomy.sites[0]
        >>> site.path, site.heads, site.queries == site.keys
        ('blocks.0.attn', 4, True)
    """

    index: int
    path: str
    kind: SiteKind
    block: int | None
    heads: int
    head_width: int
    queries: int
    keys: int
    fused: bool


@dataclass(frozen=True)
class BlockInfo:
    """One transformer block: the module that owns an attention site and returns tokens.

    whole: what it returns is all that later blocks see; False where residual additions are written outside it.
    form: how its tokens lie, see ``TokenForm``.

    Example:
        >>> import vitscope as vs
        >>> block = vs.open_model("bundled/shapes").anatomy.blocks[0]
        >>> block.path, block.heads, block.tokens
        ('blocks.0', 4, 145)
    """

    index: int
    path: str
    kind: SiteKind
    sites: tuple[int, ...]
    heads: int
    width: int
    tokens: int
    whole: bool = True
    form: TokenForm = "sequence"

    @property
    def tokens_first(self) -> bool:
        """True when its tokens come as (N, B, D)."""
        return self.form == "tokens-first"

    def as_sequence(self, tokens: Tensor) -> Tensor:
        """What goes in or comes out of this block as (B, N, D)."""
        if tokens.dim() == 4:
            return tokens.flatten(2).mT if self.form == "channels-first" else tokens.flatten(1, 2)
        return tokens.transpose(0, 1) if self.tokens_first else tokens


@dataclass(frozen=True, repr=False)
class Anatomy:
    """Everything a probe learned about one model at one input size. Read from ``Vit.anatomy``.

    Attributes:
        family: The architecture's short name; ``source`` is the name that the model was opened by.
        image_size: (H, W) in pixels that this holds for, None for texts.
        layout: Where the tokens lie, None where they lie on no single grid.
        blocks: The transformer blocks in order, and ``sites`` their attention calls.
        pooling: ``class``, ``class+distillation``, ``mean``, ``class+mean``, ``mean of all tokens``, ``attention``,
            ``other``, or ``none`` where no tokens were found.
        pool_site: The attention call of an attention pooling, None without one.
        classifier: The path of the last linear layer, ``classes`` how many it tells apart; None for an embedding.
        parameters: How many numbers the model has.
        readout: The weight of each token in the pooling, (N,); None where it depends on the picture.
        post_norm: Whether blocks norm after they add.
        convolves: Whether patches also mix in convolutions after the first block, so that a token which no attention
            sees is still not gone.
        trailing: Tokens that follow the patches, which is not supported (``layout`` is None then).
        asunder: Why the blocks are no one chain; None when each is read by the next and the last leads to the output.
        misplaced: Why token i cannot be taken for patch i; None when it was seen to be so.
        output: The way to the logits in what the model returns, None where none are known.
        probability: How logits become probabilities, over all classes (``softmax``) or each by itself (``sigmoid``).
        film: Whether it takes films (B, T, C, H, W).
        notes: Remarks worth showing, one line each.

    Example:
        >>> import vitscope as vs
        >>> anatomy = vs.open_model("bundled/shapes").anatomy
        >>> anatomy.layout.grid, anatomy.pooling, anatomy.classes, anatomy.blocks[0].path
        ((12, 12), 'class', 10, 'blocks.0')
    """

    family: str
    source: str
    image_size: tuple[int, int] | None
    layout: TokenLayout | None
    blocks: tuple[BlockInfo, ...]
    sites: tuple[SiteInfo, ...]
    pooling: str
    pool_site: int | None
    classifier: str | None
    classes: int | None
    parameters: int
    readout: tuple[float, ...] | None
    post_norm: bool = False
    convolves: bool = False
    trailing: int = 0
    asunder: str | None = None
    misplaced: str | None = None
    output: tuple[str | int, ...] | None = ()
    probability: Literal["softmax", "sigmoid"] = "softmax"
    film: bool = False
    notes: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        tokens = self.layout.describe() if self.layout is not None else "no tokens"
        blocks = f"{len(self.blocks)} blocks x {self.heads} heads, width {self.width}"
        return f"<Anatomy of {self.source}: {self.family}, {tokens}, {blocks}, pooling {self.pooling}>"

    def _repr_html_(self) -> str:
        return str(drawn_by("models", "anatomy_html")(self))

    @property
    def heads(self) -> int:
        """Heads of the widest block (blocks of one ViT nearly always agree)."""
        return max((block.heads for block in self.blocks), default=0)

    @property
    def width(self) -> int:
        """Width D of the residual stream, 0 when no block was found."""
        return self.blocks[-1].width if self.blocks else 0

    @property
    def block_sites(self) -> tuple[SiteInfo, ...]:
        """The sites inside blocks, in order; the pooling's own site is apart."""
        return tuple(site for site in self.sites if site.block is not None)

    def why_no_tokens(self) -> str | None:
        """Reason why token-to-token methods do not apply, None when they do."""
        if not self.sites:
            return no_attention_reason(self.source)
        if not self.blocks:
            return "its attention runs in no module that takes and returns tokens; name such modules with blocks="
        kinds = {site.kind for site in self.block_sites}
        if "window" in kinds and self.film:
            return "its attention reads time and space apart, so no row of attention spans the film"
        if "window" in kinds:
            return "its attention works inside windows, so no row of attention spans the picture"
        if "reduced" in kinds:
            return "its attention reads a reduced set of keys (a hierarchical model)"
        if self.asunder is not None:
            return self.asunder
        if self.trailing:
            return (
                f"{self.trailing} of its tokens follow the patches (a class token at the end, detection tokens); only "
                "sequences that end with the patches are read"
            )
        if self.layout is None and self.film:
            return (
                "its tokens lie on no grid of frames, rows and columns that was seen; pass grid=(h, w) of one frame if "
                "they follow each other frame by frame"
            )
        if self.layout is None:
            return "no grid of patches was found that its tokens lie on; pass grid=(h, w) if you know it"
        if self.misplaced is not None:
            return self.misplaced
        lengths = {s.keys for s in self.block_sites if s.kind in ("self", "class")}
        lengths |= {block.tokens for block in self.blocks if block.kind == "self"}
        if lengths - {self.layout.tokens, self.layout.patches}:
            counts = list(dict.fromkeys(block.tokens for block in self.blocks))
            listed = ", ".join(map(str, counts))
            if len(counts) > 1 and counts == sorted(counts, reverse=True):
                return f"its token grid shrinks from stage to stage ({listed} tokens)"
            return f"its blocks attend over different numbers of tokens ({listed}), so their attentions form no chain"
        if "other" in kinds:
            return "it has attention whose queries and keys are not its tokens"
        if any(len(block.sites) > 1 for block in self.blocks):
            return (
                "its blocks hold several attention calls side by side, so there is no one attention per block"
            )
        return None

    def why_no_class(self) -> str:
        """What to say when a class is asked for and the output has no class scores."""
        if self.output is None and self.notes:
            return f"'{self.source}' has no class scores to explain: {self.notes[0]}"
        return (
            f"'{self.source}' has no classifier, so there is no class to explain; pass target= (a text, another "
            "picture's feature, or a callable on the output that gives (B,)), or classes=C to open_model if its output "
            "are class scores"
        )

    def why_no_row(self) -> str | None:
        """Reason why methods that chain attention rows over all blocks do not apply, None when they do."""
        reason = self.why_no_tokens()
        if reason is None and any(site.kind == "cross-covariance" for site in self.block_sites):
            return (
                "its blocks attend across channels (cross-covariance), so tokens have no attention rows there"
            )
        return reason

    def why_no_removal(self) -> str | None:
        """Reason why tokens cannot be taken out of the running model, None when they can."""
        reason = self.why_no_row()
        if reason is None and self.convolves:
            return "convolutions between its blocks mix neighbouring patches, so a hidden token is still seen"
        if reason is None and self.pooling == "other":
            return "how it pools its tokens was not found, so removed ones might still be read; pass pooling="
        return reason


def no_attention_reason(source: str) -> str:
    """The message for a model in which no attention call was seen."""
    return (
        f"no attention was seen in '{source}': it is no transformer, or it uses a flash-attention package or a "
        'compiled or scripted graph; load it with attn_implementation="sdpa" (or "eager"), uncompiled'
    )
