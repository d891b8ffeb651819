"""What random draws of a picture depend on: its key and the seed, never its place in a batch."""

from __future__ import annotations

import struct

import pytest
import torch
import xxhash
from torch import Tensor

import vitscope as vs
from tests.zoo import inputs, open_zoo
from vitscope.errors import TraceError
from vitscope.methods import get_method
from vitscope.tracing.picture_keys import content_keys, generator_for


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def drawn(trace: vs.Trace, seed: int = 0) -> Tensor:
    maps = get_method("random").run(trace, {"seed": seed}).maps
    assert maps is not None
    return maps


def test_without_keys_the_content_is_the_key(images):
    keys = content_keys(images)
    assert len(set(keys)) == 3 and content_keys(images.flip(0)) == keys[::-1]
    assert content_keys(torch.cat([images[1:2], images[1:2]])) == (keys[1], keys[1])
    assert content_keys(images.half())[0] != keys[0]
    written = xxhash.xxh3_128(b"|torch.float32|(3, 2, 2)|" + struct.pack("<12f", *range(12))).hexdigest()
    assert content_keys(torch.arange(12.0).reshape(1, 3, 2, 2)) == (written,)
    assert open_zoo("timm-vit").trace(images, 0, gradient=False).keys == keys


def test_texts_have_keys_too():
    one, other = content_keys(inputs("hf-bert-sdpa"))
    assert one != other and len(one) == 32


def test_draws_follow_the_key_and_not_the_place(images):
    vit = open_zoo("timm-vit")
    first = vit.trace(images, 0, gradient=False, keys=["a", "b", "c"])
    other = vit.trace(images.flip(0), 0, gradient=False, keys=["b", "c", "a"])
    assert first.keys == ("a", "b", "c")
    assert torch.equal(drawn(first), drawn(other)[[2, 0, 1]])
    assert not torch.equal(drawn(first), drawn(first, seed=1))
    alone = vit.trace(images[:1], 0, gradient=False, keys=["c"])
    assert torch.equal(drawn(alone)[0], drawn(first)[2])
    assert torch.equal(drawn(alone)[0], torch.rand(4, 4, generator=generator_for(0, "c")))


def test_the_draws_of_a_key_are_the_same_on_every_machine():
    seed = xxhash.xxh3_64_intdigest(b"7|folder/photo.jpg") >> 1
    assert torch.equal(
        torch.rand(5, generator=generator_for(7, "folder/photo.jpg")),
        torch.rand(5, generator=torch.Generator().manual_seed(seed)),
    )
    first = torch.rand(2, generator=generator_for(0, "a")).tolist()
    assert first == pytest.approx([0.9385313391685486, 0.9331870675086975])
    generator_for(0, "\udcff")  # a file's name need not be a text


@pytest.mark.parametrize("keys", [["a"], ["a", "b", "c", "d"], "abc", ["a", "b", 3]])
def test_one_key_per_picture(images, keys):
    with pytest.raises(TraceError, match=r"expected (one key per picture, 3 texts|keys as a list of texts)"):
        open_zoo("timm-vit").trace(images, 0, gradient=False, keys=keys)
