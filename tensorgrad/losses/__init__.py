"""Loss functions of (prediction, target), with `reduction="mean" | "sum" | "none"` and weights. A
target that is no tensor is put on the backend of the prediction.

Mistakes that shapes, the tape or arrays on the host reveal are errors. Values on a GPU are not
checked, as that would synchronise with the device. The families are imported when one of their
functions is first named. `tg.nn` has the losses as modules, under PyTorch's names.
"""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..core import Tensor
from ..errors import ArgumentError
from ..settings import shown
from ..words import missing, no_other_names

if TYPE_CHECKING:
    from .classification import (
        binary_cross_entropy,
        binary_cross_entropy_with_logits,
        cross_entropy,
        dice,
        focal,
        nll,
        softmax_focal,
    )
    from .divergence import kl_divergence, kl_normal
    from .margin import (
        hinge,
        hinge_embedding,
        margin_ranking,
        multi_margin,
        multilabel_margin,
        multilabel_soft_margin,
        soft_margin,
        squared_hinge,
    )
    from .regression import (
        gaussian_nll,
        huber,
        log_cosh,
        mean_absolute_error,
        mean_squared_error,
        poisson_nll,
        smooth_l1,
    )
    from .sequence import ctc, transducer
    from .similarity import contrastive, cosine_embedding, info_nce, triplet_margin

    LOSSES: dict[str, Callable[..., Tensor]]

__all__ = [
    "LOSSES",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "contrastive",
    "cosine_embedding",
    "cross_entropy",
    "ctc",
    "dice",
    "focal",
    "gaussian_nll",
    "get",
    "hinge",
    "hinge_embedding",
    "huber",
    "info_nce",
    "kl_divergence",
    "kl_normal",
    "log_cosh",
    "margin_ranking",
    "mean_absolute_error",
    "mean_squared_error",
    "multi_margin",
    "multilabel_margin",
    "multilabel_soft_margin",
    "nll",
    "poisson_nll",
    "smooth_l1",
    "soft_margin",
    "softmax_focal",
    "squared_hinge",
    "transducer",
    "triplet_margin",
]

# Family -> its functions: the `__all__` of its file.
_LATER = {
    "classification": """binary_cross_entropy binary_cross_entropy_with_logits cross_entropy dice
    focal nll softmax_focal""",
    "divergence": "kl_divergence kl_normal",
    "margin": """hinge hinge_embedding margin_ranking multi_margin multilabel_margin
    multilabel_soft_margin soft_margin squared_hinge""",
    "regression": """gaussian_nll huber log_cosh mean_absolute_error mean_squared_error poisson_nll
    smooth_l1""",
    "sequence": "ctc transducer",
    "similarity": "contrastive cosine_embedding info_nce triplet_margin",
}
_FAMILY = {name: family for family, names in _LATER.items() for name in names.split()}
_SHORT = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "bce": "binary_cross_entropy",
}
# Of more than a prediction and a target: not by name in `compile`.
_OF_MORE = """contrastive cosine_embedding ctc gaussian_nll info_nce kl_normal margin_ranking
transducer triplet_margin""".split()
_NAMES = [*_SHORT, *[name for name in _FAMILY if name not in _OF_MORE]]


def get(name: str | Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The loss of that name, or the function given; ArgumentError for unknown names.

    >>> get("mse").__name__
    'mean_squared_error'
    """
    if isinstance(name, type):
        raise ArgumentError(f"loss {name!r}: give an object of it, or a function")
    if callable(name):
        return name
    if not isinstance(name, str):
        raise ArgumentError(f"loss {shown(name)}: give a name, an object of a loss, or a function")
    if name not in _NAMES:
        if name in _OF_MORE:
            raise ArgumentError(
                f"loss {name!r} takes more than a prediction and a target: write a loop of your "
                f"own with tg.losses.{name}, or give a function of the two"
            )
        raise ArgumentError(f"loss {name!r}: {missing('losses', str(name), _NAMES)}")
    loss: Callable[..., Tensor] = _function(_SHORT.get(name, name))
    return loss


def _function(name: str) -> Any:
    return getattr(importlib.import_module(f"{__name__}.{_FAMILY[name]}"), name)


if not TYPE_CHECKING:  # else every name would be there for type checkers
    _unknown = no_other_names("losses", __all__)

    def __getattr__(name: str) -> Any:
        if name in _FAMILY:
            made = _function(name)
        elif name == "LOSSES":  # name -> loss, for all that `compile` takes
            made = {name: get(name) for name in _NAMES}
        else:
            return _unknown(name)
        return globals().setdefault(name, made)
