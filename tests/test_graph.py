"""Graph convolutions beside their formulas with dense matrices in NumPy; permutations; batches."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn

rng = np.random.default_rng(0)
N = 6
X = rng.normal(size=(N, 3))
EDGES = np.array([[0, 1, 2, 2, 4, 4, 0, 3, 1], [1, 0, 1, 2, 0, 3, 3, 4, 0]])  # a loop, one twice
W = rng.uniform(0.5, 2, EDGES.shape[1])
EYE, HAS_LOOP = np.eye(N), np.array([0, 0, 1, 0, 0, 0])


def dense(weights=None):
    """A with A[i, j] the weight of the edges from j to i."""
    a = np.zeros((N, N))
    np.add.at(a, (EDGES[1], EDGES[0]), 1.0 if weights is None else weights)
    return a


def scaled(a):
    d = a.sum(1)
    s = np.where(d > 0, d, 1) ** -0.5 * (d > 0)
    return s[:, None] * a * s


def looped(a, by=1.0):
    return a + by * np.diag(1 - HAS_LOOP)


def gat(layer, x):
    """Heads one by one, over the whole matrix of scores."""
    count = looped(dense())
    outs = []
    for h in range(layer.heads):
        at = slice(h * layer.out_channels, (h + 1) * layer.out_channels)
        left = x @ layer.weight.numpy()[:, at]
        if isinstance(layer, nn.GATv2Conv):
            left = left + layer.bias_src.numpy()[at]
            right = x @ layer.weight_dst.numpy()[:, at] + layer.bias_dst.numpy()[at]
            z = right[:, None] + left[None]
            scores = np.where(z > 0, z, 0.2 * z) @ layer.att.numpy()[h]
        else:
            z = (left @ layer.att_dst.numpy()[h])[:, None] + left @ layer.att_src.numpy()[h]
            scores = np.where(z > 0, z, 0.2 * z)
        e = np.exp(scores) * count
        outs.append(e / e.sum(1, keepdims=True) @ left)
    return np.concatenate(outs, 1) if layer.concat else np.mean(outs, 0)


def mean_of(a):
    return a / np.maximum(a.sum(1, keepdims=True), 1)


def largest(x):
    reached = [EDGES[0][EDGES[1] == i] for i in range(N)]
    return np.array([x[at].max(0) if len(at) else 0 * x[0] for at in reached])


def product(layer):
    return lambda a: lambda x: a @ x @ layer.weight.numpy() + layer.bias.numpy()


ROOT = lambda layer, x: x @ layer.root_weight.numpy() + layer.bias.numpy()  # noqa: E731
# name: (layer, its options, what else it is given, f(layer, x))
LAYERS = {
    "GCN": (nn.GCNConv, {}, (), lambda m, x: product(m)(scaled(looped(dense())))(x)),
    "GCN weights": (nn.GCNConv, {}, (W,), lambda m, x: product(m)(scaled(looped(dense(W))))(x)),
    "GCN improved": (
        nn.GCNConv,
        {"improved": True},
        (),
        lambda m, x: product(m)(scaled(looped(dense(), 2)))(x),
    ),
    "GCN plain": (
        nn.GCNConv,
        {"add_self_loops": False, "normalize": False, "bias": False},
        (),
        lambda m, x: dense() @ x @ m.weight.numpy(),
    ),
    "GCN cached": (
        nn.GCNConv,
        {"cached": True},
        (),
        lambda m, x: product(m)(scaled(looped(dense())))(x),
    ),
    "GAT": (nn.GATConv, {"heads": 2}, (), lambda m, x: gat(m, x) + m.bias.numpy()),
    "GAT mean": (
        nn.GATConv,
        {"heads": 3, "concat": False},
        (),
        lambda m, x: gat(m, x) + m.bias.numpy(),
    ),
    "GATv2": (nn.GATv2Conv, {"heads": 2}, (), lambda m, x: gat(m, x) + m.bias.numpy()),
    "SAGE": (
        nn.SAGEConv,
        {},
        (),
        lambda m, x: mean_of(dense()) @ x @ m.weight.numpy() + ROOT(m, x),
    ),
    "SAGE sum": (
        nn.SAGEConv,
        {"aggr": "sum", "root_weight": False},
        (W,),
        lambda m, x: dense(W) @ x @ m.weight.numpy() + m.bias.numpy(),
    ),
    "SAGE max": (
        nn.SAGEConv,
        {"aggr": "max", "normalize": True},
        (),
        lambda m, x: (
            y := largest(x) @ m.weight.numpy() + ROOT(m, x),
            y / np.linalg.norm(y, axis=1, keepdims=True),
        )[1],
    ),
}


def made(name, **more):
    layer, options, given, formula = LAYERS[name]
    tg.seed(0)
    model = layer(3, 2, **options, **more, dtype="float64")
    for p in model.parameters():
        p.data = p.numpy() + 0.1 * rng.normal(size=p.shape)  # biases, too
    return model, given, formula


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_its_formula_with_dense_matrices(name, backend):
    layer, given, formula = made(name)
    for _ in range(2):
        y = layer(tg.asarray(X), EDGES, *given)
        np.testing.assert_allclose(y.numpy(), formula(layer, X), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layers_gradients(name):
    layer, given, _ = made(name)
    params = dict(layer.named_parameters())

    def f(x, *values):
        for p, v in zip(params, values, strict=True):
            object.__setattr__(layer, p, v)
        return layer.forward(x, EDGES, *given)

    tg.gradcheck(f, [tg.asarray(X), *[p.numpy().copy() for p in params.values()]])


@pytest.mark.parametrize("name", LAYERS)
def test_nodes_and_edges_in_another_order_give_the_same(name):
    layer, given, _ = made(name)
    order, edges = rng.permutation(N), rng.permutation(EDGES.shape[1])
    place = np.argsort(order)
    y = layer(X, EDGES, *given).numpy()
    layer.known = None
    moved = layer(X[order], place[EDGES[:, edges]], *[w[edges] for w in given]).numpy()
    np.testing.assert_allclose(moved, y[order], rtol=0, atol=1e-12)


def test_gin_is_its_formula(backend):
    layer = nn.GINConv(nn.Linear(3, 2, dtype="float64"), eps=0.5, train_eps=True)
    layer.eps.data = np.array([0.25])
    y = layer(tg.asarray(X), EDGES)
    wanted = (1.25 * X + dense() @ X) @ layer.nn.weight.numpy() + layer.nn.bias.numpy()
    np.testing.assert_allclose(y.numpy(), wanted, rtol=1e-6)
    y.sum().backward()
    assert layer.eps.grad.shape == (1,)


def test_weights_of_edges_are_trained_through():
    w = tg.tensor(W, requires_grad=True)
    layer, *_ = made("GCN")
    tg.gradcheck(lambda w: layer(X, EDGES, w), [w])
    tg.gradcheck(lambda w: nn.propagate(X, EDGES, w, "max"), [w])


def test_graphs_together_give_what_each_gives(backend):
    layer, *_ = made("GAT")
    graphs = [(X, EDGES), (X[:3] + 1, np.array([[0, 1], [2, 0]])), (X[:1], np.zeros((2, 0), int))]
    x, edges, batch = nn.join_graphs(graphs)
    together = layer(x, edges).numpy()
    each = [layer(tg.asarray(a), b).numpy() for a, b in graphs]
    np.testing.assert_allclose(together, np.concatenate(each), rtol=1e-12, atol=1e-13)
    for pool, of in (("add", np.sum), ("mean", np.mean), ("max", np.max)):
        y = getattr(nn, f"global_{pool}_pool")(tg.asarray(together), batch, 3)
        np.testing.assert_allclose(y.numpy(), [of(a, 0) for a in each], rtol=1e-12)


def test_a_lazy_layer_learns_the_classes_of_a_graph_from_two_labels():
    """Two cliques that share one edge: a graph convolution spreads each label through its own."""
    inside = [(i, j) for k in (0, 5) for i in range(k, k + 5) for j in range(k, k + 5) if i != j]
    edges = np.array([*inside, (4, 5), (5, 4)]).T
    tg.seed(0)
    first, second = nn.GCNConv(None, 8, cached=True), nn.GCNConv(None, 2, cached=True)
    x, labels, known = np.eye(10, dtype="float32"), np.array([0] * 5 + [1] * 5), [0, 9]
    model = lambda: second(tg.relu(first(x, edges)), edges)  # noqa: E731
    model()
    optimizer = tg.optim.Adam([*first.parameters(), *second.parameters()], lr=0.05)
    for _ in range(30):
        optimizer.zero_grad()
        tg.cross_entropy(model()[known], labels[known]).backward()
        optimizer.step()
    assert (model().numpy().argmax(1) == labels).all()


def cached():
    layer = nn.GCNConv(3, 2, cached=True)
    layer(X, EDGES)
    return layer(X, EDGES[:, :-1])


MISTAKES = {
    "transposed": (lambda: nn.GCNConv(3, 2)(X, EDGES.T), r"\(9, 2\); it is the transpose"),
    "floats": (lambda: nn.GATConv(3, 2)(X, EDGES * 1.0), "integers, not float64"),
    "no such node": (lambda: nn.SAGEConv(3, 2)(X, EDGES + 3), "7"),
    "weights": (lambda: nn.GCNConv(3, 2)(X, EDGES, W[1:]), "for 9 edges: one for each"),
    "features": (
        lambda: nn.GCNConv(4, 2)(X, EDGES),
        "made for in_channels = 4",
    ),
    "images": (lambda: nn.GCNConv(3, 2)(X[None], EDGES), r"\(nodes, features\), got \(1, 6, 3\)"),
    "cached": (cached, "cached=False is for graphs that change"),
    "aggregation": (lambda: nn.SAGEConv(3, 2, aggr="median"), "mean"),
    "graphs": (lambda: nn.join_graphs(3), r"a list of \(x, edge_index\)"),
    "no graphs": (lambda: nn.join_graphs([]), "there are no graphs"),
}


@pytest.mark.host
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_an_error_that_says_what_fits(name):
    call, message = MISTAKES[name]
    with pytest.raises(tg.TensorgradError, match=message):
        call()
