"""Who belongs together is learned from a graph and very few labels, by GCN and GAT.

Zachary's karate club split in two: given the graph of who met whom, and on which side the two
leaders ended, where did the others go (Kipf & Welling 2017)? Then a stochastic block model: 200
nodes of four groups, with more edges within a group than between, and four labels of each. A graph
convolution (GCN) averages the neighbours; graph attention (GAT, Velickovic et al. 2018) learns how
much each of them counts. Nodes have no features but their names.
"""

from typing import Any

import networkx as nx
import numpy as np

import tensorgrad as tg
from tensorgrad import nn, optim, train


class GCN(nn.Module):
    """x (nodes, features), edges (2, edges) -> logits (nodes, classes)."""

    def __init__(self, features: int, classes: int, width: int = 16) -> None:
        self.first = nn.GCNConv(features, width, cached=True)
        self.second = nn.GCNConv(width, classes, cached=True)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: tg.Tensor, edges: tg.Tensor) -> tg.Tensor:
        return self.second(self.drop(tg.relu(self.first(x, edges))), edges)


class GAT(nn.Module):
    """The same with attention; four heads, whose results stand side by side."""

    def __init__(self, features: int, classes: int, width: int = 8) -> None:
        self.first = nn.GATConv(features, width, heads=4, dropout=0.3)
        self.second = nn.GATConv(4 * width, classes, dropout=0.3)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: tg.Tensor, edges: tg.Tensor) -> tg.Tensor:
        return self.second(self.drop(tg.elu(self.first(x, edges))), edges)


def edges_of(graph: nx.Graph) -> np.ndarray:
    """Its edges in both directions, (2, edges)."""
    one_way = np.array(graph.edges).T
    return np.concatenate([one_way, one_way[::-1]], axis=1)


def fit(model: nn.Module, edges: Any, labels: Any, known: Any, steps: int) -> tuple[Any, float]:
    """Train on the known labels; returns the class of each node, and the share that is right of
    those whose labels were not known."""
    x = tg.eye(len(labels))
    optimizer = optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    for _ in range(steps):
        optimizer.zero_grad()
        tg.cross_entropy(model(x, edges)[known], labels[known]).backward()
        optimizer.step()
    with tg.no_grad():
        found = model.eval()(x, edges).argmax(axis=1).numpy()
    others = np.setdiff1d(np.arange(len(labels)), known)
    return found, float((found == labels)[others].mean())


def run(steps: int = 200, seed: int = 0, picture: str | None = None) -> dict:
    club = nx.karate_club_graph()
    sides = np.array([club.nodes[i]["club"] != "Mr. Hi" for i in club]).astype("int64")
    leaders = np.array([0, 33])
    groups = np.repeat(np.arange(4), 50)
    between = np.full((4, 4), 0.02) + 0.23 * np.eye(4)
    blocks = nx.stochastic_block_model([50] * 4, between.tolist(), seed=seed)
    four_each = np.concatenate(
        [np.random.default_rng(seed).permutation(50)[:4] + 50 * k for k in range(4)]
    )
    figures = {}
    for name, kind in (("gcn", GCN), ("gat", GAT)):
        found, share = fit(kind(34, 2), edges_of(club), sides, leaders, steps)
        figures[f"club_{name}"] = share
        _, share = fit(kind(200, 4), edges_of(blocks), groups, four_each, steps)
        figures[f"blocks_{name}"] = share
    if picture:
        draw(picture, club, sides, found)
    return figures


def draw(path: str, club: nx.Graph, sides: np.ndarray, found: np.ndarray) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    place = nx.spring_layout(club, seed=3)
    colors = ["tab:blue", "tab:orange"]
    wrong = found != sides
    nx.draw_networkx_edges(club, place, ax=axes, edge_color="lightgray")
    nx.draw_networkx_nodes(
        club,
        place,
        ax=axes,
        node_color=[colors[k] for k in found],
        edgecolors=["crimson" if w else "white" for w in wrong],
        node_size=[600 if i in (0, 33) else 250 for i in club],
    )
    nx.draw_networkx_labels(club, place, ax=axes, font_size=8)
    axes.set_title(f"two labels are given, the large nodes; {wrong.sum()} wrong of 32, in red")
    axes.set_axis_off()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    train.experiment(run, quick={"steps": 60})
