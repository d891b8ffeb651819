"""Public calls as a user writes them, for the type checker: see ``test_typed.py``."""

from __future__ import annotations

from typing import assert_type

import pandas as pd
from torch import Tensor

import vitscope as vs
from vitscope.evaluation import MetricInfo
from vitscope.heads import Agreement
from vitscope.methods import MethodInfo
from vitscope.methods.method_list import MethodList


def calls(vit: vs.Vit, images: Tensor) -> None:
    assert_type(vs.methods(), MethodList)
    assert_type(vs.methods()[0], MethodInfo)
    assert_type(vs.methods.get_method("gmar"), MethodInfo)
    assert_type(vs.methods.methods(), MethodList)
    assert_type(vs.evaluation.all_metrics(), list[MetricInfo])
    assert_type(vs.open_model("bundled/shapes", precision="bf16"), vs.Vit)
    assert_type(vs.explain(vit, images), vs.Explanation)
    assert_type(vs.explain(vit, "photos", "gmar", 3, alpha=2), vs.Explanation)
    assert_type(vs.explain(vit, ["a.png", "b.png"], ["gmar", "daam"], [1, 2]), vs.Explanations)
    assert_type(vs.explain(vit, images, {"gmar": {"alpha": 2}}), vs.Explanations)
    assert_type(vs.evaluate(vit, images, [0, 1], ["gmar"], ["srg"], vs.Protocol(steps=4)), vs.Leaderboard)
    assert_type(vs.heads.importance(vit, images, [1], replacement="mean", screen=0.2), vs.heads.HeadTable)
    assert_type(vs.heads.agreement(vit, images), Agreement)
    assert_type(vs.heads.importance(vit, images).to_pandas(), pd.DataFrame)
    assert_type(vit.trace(images, "top1").logits, Tensor)
    assert_type(vit.forward(images, ablation=vs.HeadAblation(images)), Tensor)
    assert_type(vit.predict(vs.pictures.picture_source("photos")), Tensor)


def refused(vit: vs.Vit, images: Tensor) -> None:
    vs.explain(None, images)  # type: ignore[call-overload]
    vs.open_model("bundled/shapes", precision="x")  # type: ignore[arg-type]
    vs.Protocol(removal="x")  # type: ignore[arg-type]
    vs.heads.importance(vit, images, replacement="x")  # type: ignore[arg-type]
    vs.methods.get_method(3)  # type: ignore[arg-type]
    vit.trace(images, precision="x")  # type: ignore[arg-type]
