"""The losses as modules, with PyTorch's names, arguments and defaults: each calls the function of
`tg.losses` that it names, and holds weights of classes as buffers."""

from __future__ import annotations

from typing import Any, Literal

from .. import losses
from ..core import Tensor
from ..creation import asarray
from ..losses.common import Margin, Reduction, Weights
from ..typing import ArrayLike, Count, Fraction, Natural, NonNegative, Positive
from .module import Buffer, Module

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CTCLoss",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "TripletMarginLoss",
]


class Loss(Module):
    """A function of `tg.losses`, `function`, and the options it is called with, which are the
    module's attributes."""

    function = ""

    def __init__(self, **options: Any):
        self.options = tuple(options)
        for name, value in options.items():
            array = name in ("weight", "pos_weight") and value is not None
            setattr(self, name, Buffer(value) if array else value)

    def forward(self, *inputs: ArrayLike, **more: Any) -> Tensor:
        """The loss. `sample_weight=` may be given, too."""
        options = {name: getattr(self, name) for name in self.options}
        value: Tensor = getattr(losses, self.function)(*inputs, **options, **more)
        return value

    def describe(self) -> str:
        given = {n: getattr(self, n) for n in self.options}
        return ", ".join([f"{n}={v!r}" for n, v in given.items() if not isinstance(v, Buffer)])


class _OfClasses(Loss):
    """A loss whose classes are on the second axis, or on the only one."""

    def forward(self, *inputs: ArrayLike, **more: Any) -> Tensor:
        prediction, target = inputs
        axis = min(1, asarray(prediction).ndim - 1)
        return super().forward(prediction, target, axis=max(axis, 0), **more)


class MSELoss(Loss):
    """`losses.mean_squared_error` as a module.

    >>> MSELoss()([1.0, 3.0], [1.0, 1.0]).item()
    2.0
    """

    function = "mean_squared_error"

    def __init__(self, *, reduction: Reduction = "mean"):
        super().__init__(reduction=reduction)


class L1Loss(Loss):
    """`losses.mean_absolute_error` as a module.

    >>> L1Loss(reduction="sum")([1.0, 3.0], [1.0, 1.0]).item()
    2.0
    """

    function = "mean_absolute_error"

    def __init__(self, *, reduction: Reduction = "mean"):
        super().__init__(reduction=reduction)


class HuberLoss(Loss):
    """`losses.huber` as a module.

    >>> HuberLoss(delta=2.0)([3.0], [0.0]).item()
    4.0
    """

    function = "huber"

    def __init__(self, reduction: Reduction = "mean", delta: Positive = 1.0):
        super().__init__(reduction=reduction, delta=delta)


class SmoothL1Loss(Loss):
    """`losses.smooth_l1` as a module.

    >>> SmoothL1Loss(beta=2.0)([3.0], [0.0]).item()
    2.0
    """

    function = "smooth_l1"

    def __init__(self, *, reduction: Reduction = "mean", beta: NonNegative = 1.0):
        super().__init__(reduction=reduction, beta=beta)


class CrossEntropyLoss(_OfClasses):
    """`losses.cross_entropy` as a module, of logits whose classes are on the second axis: (n,
    classes), (n, classes, h, w), or one row (classes,).

    >>> loss = CrossEntropyLoss(weight=[1.0, 3.0], ignore_index=-1, label_smoothing=0.1)
    >>> round(loss([[0.0, 0.0], [0.0, 5.0]], [1, -1]).item(), 4)
    0.67
    """

    function = "cross_entropy"

    def __init__(
        self,
        weight: Weights = None,
        *,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        label_smoothing: Fraction = 0.0,
    ):
        super().__init__(
            weight=weight,
            ignore_index=ignore_index,
            reduction=reduction,
            label_smoothing=label_smoothing,
        )


class NLLLoss(_OfClasses):
    """`losses.nll` as a module, of log-probabilities whose classes are on the second axis.

    >>> NLLLoss()([[-0.5, -1.0]], [1]).item()
    1.0
    """

    function = "nll"

    def __init__(
        self, weight: Weights = None, *, ignore_index: int = -100, reduction: Reduction = "mean"
    ):
        super().__init__(weight=weight, ignore_index=ignore_index, reduction=reduction)


class BCELoss(Loss):
    """`losses.binary_cross_entropy` as a module.

    >>> round(BCELoss()([0.5, 0.5], [1.0, 0.0]).item(), 4)
    0.6931
    """

    function = "binary_cross_entropy"

    def __init__(self, weight: Weights = None, *, reduction: Reduction = "mean"):
        super().__init__(weight=weight, reduction=reduction)


class BCEWithLogitsLoss(Loss):
    """`losses.binary_cross_entropy_with_logits` as a module.

    >>> round(BCEWithLogitsLoss(pos_weight=[3.0])([0.0], [1.0]).item(), 4)
    2.0794
    """

    function = "binary_cross_entropy_with_logits"

    def __init__(
        self, weight: Weights = None, *, reduction: Reduction = "mean", pos_weight: Weights = None
    ):
        super().__init__(weight=weight, reduction=reduction, pos_weight=pos_weight)


class KLDivLoss(Loss):
    """`losses.kl_divergence` as a module. As in PyTorch "mean" is over all numbers; the divergence
    itself is "batchmean", the sum divided by the length of the first axis.

    >>> KLDivLoss(reduction="batchmean")([[-1.0, -1.0]], [[1.0, 0.0]]).item()
    1.0
    """

    function = "kl_divergence"

    def __init__(
        self,
        *,
        reduction: Literal["mean", "batchmean", "sum", "none"] = "mean",
        log_target: bool = False,
    ):
        super().__init__(log_target=log_target)
        self.reduction = reduction

    def forward(self, *inputs: ArrayLike, **more: Any) -> Tensor:
        batch = self.reduction == "batchmean"
        more |= {"axis": None, "reduction": "sum" if batch else self.reduction}
        value = super().forward(*inputs, **more)
        return value / len(asarray(inputs[0])) if batch else value

    def describe(self) -> str:
        return f"{super().describe()}, reduction={self.reduction!r}"


class CTCLoss(Loss):
    """`losses.ctc` as a module, of (log_probs, targets, input_lengths, target_lengths).

    >>> loss = CTCLoss(reduction="sum")([[[0.0, 0.0, 0.0]]] * 3, [[1, 2]], [3], [2])
    >>> round(loss.item(), 4)
    1.6864
    """

    function = "ctc"

    def __init__(
        self, blank: Natural = 0, reduction: Reduction = "mean", zero_infinity: bool = False
    ):
        super().__init__(blank=blank, reduction=reduction, zero_infinity=zero_infinity)


class PoissonNLLLoss(Loss):
    """`losses.poisson_nll` as a module.

    >>> PoissonNLLLoss()([0.0, 0.0], [1, 3]).item()
    1.0
    """

    function = "poisson_nll"

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        *,
        eps: Positive = 1e-8,
        reduction: Reduction = "mean",
    ):
        super().__init__(log_input=log_input, full=full, eps=eps, reduction=reduction)


class GaussianNLLLoss(Loss):
    """`losses.gaussian_nll` as a module, of (prediction, target, var).

    >>> GaussianNLLLoss()([1.0, 2.0], [1.0, 4.0], [1.0, 1.0]).item()
    1.0
    """

    function = "gaussian_nll"

    def __init__(self, *, full: bool = False, eps: Positive = 1e-6, reduction: Reduction = "mean"):
        super().__init__(full=full, eps=eps, reduction=reduction)


class SoftMarginLoss(Loss):
    """`losses.soft_margin` as a module.

    >>> round(SoftMarginLoss()([0.0], [1.0]).item(), 4)
    0.6931
    """

    function = "soft_margin"

    def __init__(self, *, reduction: Reduction = "mean"):
        super().__init__(reduction=reduction)


class MultiMarginLoss(Loss):
    """`losses.multi_margin` as a module.

    >>> MultiMarginLoss(p=2)([[0.5, 1.0]], [1]).item()
    0.125
    """

    function = "multi_margin"

    def __init__(
        self,
        p: Count = 1,
        margin: Margin = 1.0,
        weight: Weights = None,
        *,
        reduction: Reduction = "mean",
    ):
        super().__init__(p=p, margin=margin, weight=weight, reduction=reduction)


class MultiLabelMarginLoss(Loss):
    """`losses.multilabel_margin` as a module.

    >>> MultiLabelMarginLoss()([[0.5, 1.0]], [[1, -1]]).item()
    0.25
    """

    function = "multilabel_margin"

    def __init__(self, *, reduction: Reduction = "mean"):
        super().__init__(reduction=reduction)


class MultiLabelSoftMarginLoss(Loss):
    """`losses.multilabel_soft_margin` as a module.

    >>> round(MultiLabelSoftMarginLoss()([[0.0, 0.0]], [[1, 0]]).item(), 4)
    0.6931
    """

    function = "multilabel_soft_margin"

    def __init__(self, weight: Weights = None, *, reduction: Reduction = "mean"):
        super().__init__(weight=weight, reduction=reduction)


class HingeEmbeddingLoss(Loss):
    """`losses.hinge_embedding` as a module.

    >>> HingeEmbeddingLoss()([0.25, 0.25], [1, -1]).item()
    0.5
    """

    function = "hinge_embedding"

    def __init__(self, margin: Margin = 1.0, *, reduction: Reduction = "mean"):
        super().__init__(margin=margin, reduction=reduction)


class MarginRankingLoss(Loss):
    """`losses.margin_ranking` as a module, of (x1, x2, target).

    >>> MarginRankingLoss(margin=1.0)([1.0], [3.0], [1]).item()
    3.0
    """

    function = "margin_ranking"

    def __init__(self, margin: Margin = 0.0, *, reduction: Reduction = "mean"):
        super().__init__(margin=margin, reduction=reduction)


class CosineEmbeddingLoss(Loss):
    """`losses.cosine_embedding` as a module, of (x1, x2, target).

    >>> CosineEmbeddingLoss()([[1.0, 0.0]], [[0.0, 2.0]], [1]).item()
    1.0
    """

    function = "cosine_embedding"

    def __init__(self, margin: Margin = 0.0, *, reduction: Reduction = "mean"):
        super().__init__(margin=margin, reduction=reduction)


class TripletMarginLoss(Loss):
    """`losses.triplet_margin` as a module, of (anchor, positive, negative).

    >>> round(TripletMarginLoss(5.0)([[0.0, 0.0]], [[0.0, 1.0]], [[3.0, 4.0]]).item(), 4)
    1.0
    """

    function = "triplet_margin"

    def __init__(
        self,
        margin: Margin = 1.0,
        p: Positive = 2.0,
        eps: NonNegative = 1e-6,
        swap: bool = False,
        *,
        reduction: Reduction = "mean",
    ):
        super().__init__(margin=margin, p=p, eps=eps, swap=swap, reduction=reduction)
