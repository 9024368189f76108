"""`fit` and `evaluate` as one of several processes: what is shared, checked and made equal."""

from __future__ import annotations

import warnings
from typing import Any

from ..core import Tensor
from ..data.sources import Arrays
from ..distributed import exchange, ranks
from ..distributed.sharing import Sharing
from ..errors import GraphError, user_level
from ..nn import Module
from ..switches import switches
from ..trees import leaves
from . import checks
from .feed import Feed


def shared(feed: Feed | None, least: int = 1) -> None:
    """Let each process have a part of each batch; of `least` examples."""
    world = ranks.world()
    if feed is not None and world.size > 1:
        feed.sharing = Sharing(world, least)


class Part:
    """A block in which losses are of a process's part of a batch: those that divide by a sum of
    weights (of examples, of classes, of labels that are not ignored) divide by that of the whole
    batch, and sums are scaled, so that the mean of all by their shares is the loss of the batch."""

    def __init__(self, world: Any, share: float):
        self.world, self.counts = world, share > 0
        self.share = share or 1.0  # what has none is multiplied by 0 later

    def __enter__(self) -> None:
        self.before = switches.part
        switches.part = self if self.world.size > 1 else None

    def __exit__(self, *error: object) -> None:
        switches.part = self.before

    def total(self, weights: Tensor) -> Tensor:
        """By what the part's weighted sum is divided, whose own weights these are."""
        if weights.node is not None and switches.recording:
            raise GraphError(
                "the weights of a loss require a gradient, which with several processes would "
                "lack a part: give weights.detach(), or train with one"
            )
        whole = weights.detach().astype("float64")._data.reshape(1) * float(self.counts)
        self.world.sum([whole], "the weights of a loss")
        return Tensor((whole * self.share).reshape(())).astype(weights.dtype)


def begin(trainer: Any, feed: Feed, callbacks: list[Any], options: Any, **more: Any) -> None:
    """Compare what is to be trained, and how, and give all ranks the parameters of rank 0."""
    world, plan, model = ranks.world(), trainer.plan, trainer.model
    if world.size == 1:
        if n := ranks.unjoined():
            warnings.warn(
                f"{n} processes were started, and every one trains alone, on all data: call "
                "tg.distributed.init() first, or start with `python -m tensorgrad launch`",
                stacklevel=user_level(),
            )
        return
    check_graphed(plan)
    exchange.broadcast(model)
    optimizer = plan.optimizer
    facts = {
        "the optimizer": " of ".join(_names(optimizer)),
        "the learning rate": optimizer.lr,
        **{f"the optimizer's {k}": repr(v) for k, v in optimizer.options.items()},
        "the loss": _loss(plan),
        "the list of scores": ", ".join(options.names),
        "the number of examples": feed.examples,
        "the batch size": feed.batch_size,
        "the number of steps": feed.steps,
        "shuffle=": getattr(feed.loader, "shuffle", None),
        "the number of epochs": options.epochs,
        "the list of callbacks": ", ".join(type(c).__name__ for c in callbacks),
        "precision=": trainer.precision,
        "the data": _sample(feed),
        **{f"{name}=": value for name, value in more.items()},
    }
    world.agree(facts, "the settings of fit")
    if world.rank:
        options.verbose = 0


def _names(optimizer: Any) -> list[str]:
    """The class of an optimizer, and of those within."""
    inner = vars(optimizer).get("inner")
    return [type(optimizer).__name__, *([] if inner is None else _names(inner))]


def _loss(plan: Any) -> str:
    """The losses, with their options where they are modules."""
    named = [
        repr(o.loss)
        if isinstance(o.loss, Module)
        else getattr(o.loss, "__qualname__", type(o.loss).__name__)
        for o in plan.outputs
    ]
    if plan.single:
        return str(named[0])
    return " + ".join(f"{o.weight:g} {n}" for o, n in zip(plan.outputs, named, strict=True))


def _sample(feed: Feed) -> int | None:
    """A checksum of the first examples that all ranks have read: of arrays in memory."""
    source = getattr(feed.loader, "source", None)
    if not isinstance(source, Arrays):
        return None
    return exchange.checksum(leaves(checks.few(source.tree)))


def epoch_done(model: Any, stops: bool) -> bool:
    """Whether any rank stops; DistributedError where their parameters are no longer the same."""
    world = ranks.world()
    if world.size == 1:
        return stops
    found = world.gather((exchange.checksum(model.parameters()), stops), "the end of an epoch")
    codes = [code for code, _ in found]
    if len({*codes}) > 1:
        apart = next(r for r, code in enumerate(codes) if code != codes[0])
        world.fail(
            f"the ranks have drifted apart: the parameters of rank {apart} are not those of rank "
            "0. A step of your own updates by `self.update(loss)`, or calls "
            "tg.distributed.average(optimizer) before its optimizer's step; callbacks change "
            "parameters on all ranks alike",
            speaker=0,
        )
    return any(stop for _, stop in found)


def check_graphed(plan: Any) -> None:
    """GraphError for steps that are to be captured, or replayed."""
    if plan.compiled:
        raise GraphError(
            "fit: compiled=True replays a step without what processes exchange in it: leave it out "
            "with several of them"
        )
    if plan.graphed is True:
        raise GraphError(
            "fit: graphed=True with several processes has not been run on two GPUs yet: "
            "compile(..., graphed=False), or leave it out"
        )
