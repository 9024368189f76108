"""Graph convolutions on lists of edges, with the names and arguments of PyTorch Geometric.

x is (n, features), a row a node; edge_index (2, e) integers, the sources of the edges above their
targets. What reaches a node is summed by segments, in the order of the edges: the same bits every
time. Several graphs are one whose parts are not connected (`join_graphs`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

from ..core import Tensor
from ..creation import arange, asarray, beside, ones
from ..errors import ArgumentError, DTypeError, ShapeError
from ..functions.activation import leaky_relu
from ..functions.distance import normalize as to_unit_length
from ..functions.embedding import embedding
from ..functions.random import dropout
from ..functions.segments import segment_max, segment_mean, segment_softmax, segment_sum
from ..functions.shape import concatenate, reshape
from ..ops import elementwise as el
from ..ops import matmul, reduce
from ..ops.embedding import gather_sum
from ..ops.gather import counts
from ..settings import Own, gate
from ..typing import ArrayLike, Count, DType, Fraction, Natural
from .lazy import LazyLayer
from .module import Module, Parameter

__all__ = [
    "GATConv",
    "GATv2Conv",
    "GCNConv",
    "GINConv",
    "SAGEConv",
    "global_add_pool",
    "global_max_pool",
    "global_mean_pool",
    "join_graphs",
    "propagate",
]
Aggregation: TypeAlias = Literal["sum", "mean", "max"]
Graphs: TypeAlias = Annotated[
    "Sequence[tuple[ArrayLike, ArrayLike]]", Own("graphs, [(x, edge_index), ...]")
]
Weights: TypeAlias = ArrayLike | None


@gate
def propagate(
    x: ArrayLike, edge_index: ArrayLike, edge_weight: Weights = None, aggregate: Aggregation = "sum"
) -> Tensor:
    """What reaches each node: the sum, mean or largest numbers of x[source] over its incoming
    edges, times their weights; 0 where there is none. (n, features) -> (n, features).

    Raises: ShapeError, DTypeError, or IndexingError for nodes on the host that there are not.

    >>> propagate([[1.0], [2.0], [4.0]], [[0, 1], [2, 2]]).tolist()
    [[0.0], [0.0], [3.0]]
    """
    x = _nodes("propagate", asarray(x))
    sources, targets = _edges("propagate", edge_index, x)
    w = None if edge_weight is None else _of_edges("propagate", edge_weight, x, sources)
    if aggregate == "max":
        rows = embedding(x, sources)
        y = segment_max(rows if w is None else rows * w.reshape(-1, 1), targets, len(x))
        return el.where(y == float("-inf"), 0.0, y)  # type: ignore[no-any-return]
    y = gather_sum(x, sources, targets, w, count=len(x))
    if aggregate == "sum":
        return y
    n = Tensor(counts(targets._data, len(x))).astype(y.dtype)
    return y / reshape(el.maximum(n, 1.0), (-1, 1))


def _nodes(name: str, x: Tensor) -> Tensor:
    if x.ndim != 2:
        raise ShapeError(f"{name}: x is (nodes, features), got {x.shape}")
    return x


def _edges(name: str, edge_index: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Sources and targets, each (e,)."""
    edges = beside(edge_index, x)
    if edges.ndim != 2 or edges.shape[0] != 2:
        turned = "; it is the transpose, edge_index.T" if edges.shape[1:] == (2,) else ""
        raise ShapeError(f"{name}: edge_index is (2, edges), got {edges.shape}{turned}")
    if edges.dtype.kind not in "iu":
        raise DTypeError(f"{name}: edge_index holds numbers of nodes, integers, not {edges.dtype}")
    return edges[0], edges[1]


def _of_edges(name: str, weight: Any, x: Tensor, sources: Tensor) -> Tensor:
    """A weight for each edge, in x's dtype."""
    w = beside(weight, x)
    if w.shape != sources.shape:
        raise ShapeError(f"{name}: edge_weight {w.shape} for {len(sources)} edges: one for each")
    return w if w.dtype == x.dtype else w.astype(x.dtype)


def _loops(sources: Tensor, targets: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The edges with a loop at each node behind them, and which nodes had none, as numbers."""
    nodes = arange(len(x), dtype=sources.dtype, backend=x.backend)
    there = segment_sum((sources == targets).astype(x.dtype), targets, len(x))
    none = (there == 0).astype(x.dtype)
    return concatenate([sources, nodes]), concatenate([targets, nodes]), none


class GCNConv(LazyLayer):
    """Graph convolution (Kipf & Welling 2017): D^-1/2 (A + I) D^-1/2 x W + b, where A holds the
    weights of the edges and D their sums at each node. (n, in) -> (n, out).

    Args:
        in_channels: None for what the first x has.
        improved: A + 2 I.
        cached: keep the normalised weights of the first call, for calls with the same edges.
        add_self_loops: + I, at nodes that have no loop.
        normalize: with False the edges count with their weights as they are.
    Raises: ShapeError and DTypeError for what are no nodes or edges.

    >>> layer = GCNConv(1, 2)
    >>> layer.weight.data = np.ones((1, 2), "float32")
    >>> layer([[1.0], [3.0]], [[0, 1], [1, 0]]).round(4).tolist()
    [[2.0, 2.0], [2.0, 2.0]]
    """

    sized_by = "in_channels"
    in_channels: int | None

    def __init__(
        self,
        in_channels: Count | None,
        out_channels: Count,
        improved: bool = False,
        cached: bool = False,
        add_self_loops: bool = True,
        normalize: bool = True,
        bias: bool = True,
        *,
        dtype: DType = "float32",
    ):
        super().__init__()
        self.out_channels, self.use_bias = out_channels, bias
        self.improved, self.cached, self.loops = improved, cached, add_self_loops
        self.normalize = normalize
        self.known: Any = None  # (nodes, edges), and what `normalized` made of them
        self.start(in_channels, dtype)

    def make(self, length: int) -> None:
        self.weight = self.drawn("xavier_uniform", length, self.out_channels)
        if self.use_bias:
            self.bias = self.drawn("zeros", self.out_channels)

    def forward(self, x: ArrayLike, edge_index: ArrayLike, edge_weight: Weights = None) -> Tensor:
        x = self.checked(_nodes("GCNConv", asarray(x)))
        sources, targets, w = self.normalized(x, edge_index, edge_weight)
        narrow = self.out_channels <= x.shape[1]  # fewer numbers are moved
        rows = matmul.matmul(x, self.weight) if narrow else x
        y = gather_sum(rows, sources, targets, w, count=len(x))
        y = y if narrow else matmul.matmul(y, self.weight)
        return y if self.bias is None else y + self.bias

    def normalized(
        self, x: Tensor, edge_index: ArrayLike, edge_weight: Weights = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Sources, targets and weights of the edges that are summed over."""
        sources, targets = _edges("GCNConv", edge_index, x)
        facts = (len(x), len(sources))
        if self.cached and self.known is not None:
            if self.known[0] != facts:
                raise ArgumentError(
                    f"GCNConv(cached=True) was first called with (nodes, edges) = {self.known[0]}, "
                    f"and now with {facts}: cached=False is for graphs that change"
                )
            return self.known[1]
        w = None if edge_weight is None else _of_edges("GCNConv", edge_weight, x, sources)
        if w is None and (self.loops or self.normalize):
            w = ones(len(sources), x.dtype, backend=x.backend)
        if self.loops:
            sources, targets, none = _loops(sources, targets, x)
            w = concatenate([w, none * (2.0 if self.improved else 1.0)])
        if self.normalize and w is not None:
            degree = segment_sum(w, targets, len(x))
            scale = el.where(degree > 0, 1.0 / el.sqrt(el.where(degree > 0, degree, 1.0)), 0.0)
            w = scale[sources] * w * scale[targets]
        if self.cached:
            self.known = facts, (sources, targets, w if w is None else w.detach())
        return sources, targets, w

    def describe(self) -> str:
        return f"{self.in_channels}, {self.out_channels}"


class SAGEConv(LazyLayer):
    """GraphSAGE (Hamilton et al. 2017): aggregate(x of the neighbours) W + b + x W_root, the
    aggregate being their mean, sum or largest numbers. (n, in) -> (n, out).

    Args:
        in_channels: None for what the first x has.
        normalize: scale each row of the output to length 1.
        root_weight: whether there is the last term.
    Raises: ShapeError and DTypeError for what are no nodes or edges.

    >>> SAGEConv(3, 2)(np.ones((4, 3), "float32"), [[0, 1], [1, 2]]).shape
    (4, 2)
    """

    sized_by = "in_channels"
    in_channels: int | None

    def __init__(
        self,
        in_channels: Count | None,
        out_channels: Count,
        aggr: Aggregation = "mean",
        normalize: bool = False,
        root_weight: bool = True,
        bias: bool = True,
        *,
        dtype: DType = "float32",
    ):
        super().__init__()
        self.out_channels, self.aggr, self.normalize = out_channels, aggr, normalize
        self.use_root, self.use_bias = root_weight, bias
        self.start(in_channels, dtype)

    def make(self, length: int) -> None:
        self.weight = self.drawn("xavier_uniform", length, self.out_channels)
        if self.use_root:
            self.root_weight = self.drawn("xavier_uniform", length, self.out_channels)
        if self.use_bias:
            self.bias = self.drawn("zeros", self.out_channels)

    def forward(self, x: ArrayLike, edge_index: ArrayLike, edge_weight: Weights = None) -> Tensor:
        x = self.checked(_nodes("SAGEConv", asarray(x)))
        near = propagate(x, edge_index, edge_weight, self.aggr)
        y = matmul.dense(near, self.weight, self.bias, activation="none")
        y = y + matmul.matmul(x, self.root_weight) if self.use_root else y
        return to_unit_length(y, axis=1) if self.normalize else y

    def describe(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, aggr={self.aggr!r}"


class GINConv(Module):
    """Graph isomorphism network (Xu et al. 2019): nn((1 + eps) x + the sum of the neighbours' x).

    Args:
        nn: a module of (n, features), usually an MLP.
        train_eps: whether eps is a parameter.
    Raises: ShapeError and DTypeError for what are no nodes or edges.

    >>> from .activation import Activation
    >>> GINConv(Activation("relu"))([[1.0], [2.0]], [[0], [1]]).tolist()
    [[1.0], [3.0]]
    """

    def __init__(self, nn: Module, eps: float = 0.0, train_eps: bool = False):
        super().__init__()
        self.nn = nn
        self.eps: Any = Parameter([eps]) if train_eps else eps

    def forward(self, x: ArrayLike, edge_index: ArrayLike, edge_weight: Weights = None) -> Tensor:
        x = _nodes("GINConv", asarray(x))
        y: Tensor = self.nn((1 + self.eps) * x + propagate(x, edge_index, edge_weight))
        return y


class GATConv(LazyLayer):
    """Graph attention (Velickovic et al. 2018): for each head the sum of h[source] over the edges
    into a node and a loop, weighted by the softmax of leaky_relu(a_src h[source] + a_dst
    h[target]), for h = x W. (n, in) -> (n, heads out), or (n, out) with `concat=False`.

    Args:
        in_channels: None for what the first x has.
        concat: the heads beside each other; with False their mean.
        negative_slope: of the leaky_relu.
        dropout: the probability that an edge's weight is dropped, in training.
        add_self_loops: a loop at nodes that have none.
    Raises: ShapeError and DTypeError for what are no nodes or edges.

    >>> GATConv(3, 2, heads=4)(np.ones((5, 3), "float32"), [[0, 1], [1, 2]]).shape
    (5, 8)
    """

    sized_by = "in_channels"
    in_channels: int | None

    def __init__(
        self,
        in_channels: Count | None,
        out_channels: Count,
        heads: Count = 1,
        concat: bool = True,
        negative_slope: float = 0.2,
        dropout: Fraction = 0.0,
        add_self_loops: bool = True,
        bias: bool = True,
        *,
        dtype: DType = "float32",
    ):
        super().__init__()
        self.out_channels, self.heads, self.concat = out_channels, heads, concat
        self.negative_slope, self.dropout = negative_slope, dropout
        self.loops, self.use_bias = add_self_loops, bias
        self.start(in_channels, dtype)

    def make(self, length: int) -> None:
        wide = self.heads * self.out_channels
        self.weight = self.drawn("xavier_uniform", length, wide)
        self.att_src = self.drawn("xavier_uniform", self.heads, self.out_channels)
        self.att_dst = self.drawn("xavier_uniform", self.heads, self.out_channels)
        if self.use_bias:
            self.bias = self.drawn("zeros", wide if self.concat else self.out_channels)

    def forward(self, x: ArrayLike, edge_index: ArrayLike) -> Tensor:
        x = self.checked(_nodes(type(self).__name__, asarray(x)))
        sources, targets = _edges(type(self).__name__, edge_index, x)
        none = None
        if self.loops:
            edges = len(sources)
            sources, targets, none = _loops(sources, targets, x)
            none = concatenate([ones(edges, x.dtype, backend=x.backend), none])
        rows, scores = self.scored(x, sources, targets)
        if none is not None:  # a second loop at a node has no weight
            scores = el.where((none > 0).reshape(-1, 1), scores, float("-inf"))
        share = segment_softmax(scores, targets, len(x))
        if self.dropout and self.training:
            share = dropout(share, self.dropout)
        wide = (-1, self.heads * self.out_channels)
        y = segment_sum(reshape(rows * share.reshape(-1, self.heads, 1), wide), targets, len(x))
        if not self.concat:
            y = reduce.mean(y.reshape(-1, self.heads, self.out_channels), axis=1)
        return y if self.bias is None else y + self.bias

    def scored(self, x: Tensor, sources: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """h of each edge's source, (e, heads, out), and the edges' scores, (e, heads)."""
        flat = matmul.matmul(x, self.weight)
        h = flat.reshape(-1, self.heads, self.out_channels)
        ends = [reduce.sum_(h * a, axis=-1) for a in (self.att_src, self.att_dst)]
        scores = embedding(ends[0], sources) + embedding(ends[1], targets)
        rows = embedding(flat, sources).reshape(-1, self.heads, self.out_channels)
        return rows, leaky_relu(scores, self.negative_slope)

    def describe(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, heads={self.heads}"


class GATv2Conv(GATConv):
    """Graph attention whose scores are a function of both ends together (Brody et al. 2022): the
    sum of a leaky_relu(x[source] W + b + x[target] W_dst + b_dst). Otherwise as `GATConv`.

    >>> GATv2Conv(3, 2, heads=4, concat=False)(np.ones((5, 3), "float32"), [[0], [1]]).shape
    (5, 2)
    """

    def make(self, length: int) -> None:
        wide = self.heads * self.out_channels
        self.weight, self.weight_dst = [
            self.drawn("xavier_uniform", length, wide) for _ in range(2)
        ]
        self.bias_src, self.bias_dst = [self.drawn("zeros", wide) for _ in range(2)]
        self.att = self.drawn("xavier_uniform", self.heads, self.out_channels)
        if self.use_bias:
            self.bias = self.drawn("zeros", wide if self.concat else self.out_channels)

    def scored(self, x: Tensor, sources: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        left = matmul.dense(x, self.weight, self.bias_src, activation="none")
        right = matmul.dense(x, self.weight_dst, self.bias_dst, activation="none")
        rows, others = embedding(left, sources), embedding(right, targets)
        shape = (-1, self.heads, self.out_channels)
        both = leaky_relu(rows + others, self.negative_slope).reshape(*shape)
        return rows.reshape(*shape), reduce.sum_(both * self.att, axis=-1)


@gate
def global_add_pool(x: ArrayLike, batch: ArrayLike, size: Natural | None = None) -> Tensor:
    """The sum over the nodes of each graph: (n, features) and the graph of each node (n,) ->
    (size, features). Without `size` there are as many graphs as the last number says.

    >>> global_add_pool([[1.0], [2.0], [4.0]], [0, 0, 1]).tolist()
    [[3.0], [4.0]]
    """
    return segment_sum(x, batch, size)


@gate
def global_mean_pool(x: ArrayLike, batch: ArrayLike, size: Natural | None = None) -> Tensor:
    """The mean over the nodes of each graph; as `global_add_pool`.

    >>> global_mean_pool([[1.0], [2.0], [4.0]], [0, 0, 1]).tolist()
    [[1.5], [4.0]]
    """
    return segment_mean(x, batch, size)


@gate
def global_max_pool(x: ArrayLike, batch: ArrayLike, size: Natural | None = None) -> Tensor:
    """The largest numbers of the nodes of each graph; as `global_add_pool`.

    >>> global_max_pool([[1.0], [2.0], [4.0]], [0, 0, 1]).tolist()
    [[2.0], [4.0]]
    """
    return segment_max(x, batch, size)


@gate
def join_graphs(graphs: Graphs) -> tuple[Tensor, Tensor, Tensor]:
    """Several graphs, [(x, edge_index), ...], as one: x, edge_index, and the graph of each node.

    Raises: ArgumentError for no graphs, ShapeError for what are none.

    >>> x, edges, batch = join_graphs([([[1.0], [2.0]], [[0], [1]]), ([[4.0]], [[0], [0]])])
    >>> edges.tolist(), batch.tolist()
    ([[0, 2], [1, 2]], [0, 0, 1])
    """
    try:
        pairs = [(asarray(x), edges) for x, edges in graphs]
    except (TypeError, ValueError) as error:
        raise ArgumentError("join_graphs takes a list of (x, edge_index)") from error
    if not pairs:
        raise ArgumentError("join_graphs: there are no graphs")
    moved, batch, count = [], list[int](), 0
    for i, (x, edge_index) in enumerate(pairs):
        _nodes("join_graphs", x)
        _edges("join_graphs", edge_index, x)
        moved.append(beside(edge_index, x) + count)
        batch += [i] * len(x)
        count += len(x)
    x = concatenate([x for x, _ in pairs])
    return x, concatenate(moved, axis=1), beside(batch, x)
