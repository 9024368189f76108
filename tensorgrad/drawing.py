"""The tape as text, and as a picture by Graphviz."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .backend import BY_TYPE
from .core import Leaf, Node, Out, Tensor
from .errors import ArgumentError, BackendError, GraphError
from .trees import leaves


class Drawing:
    """What `draw` returns: text by `str`, a picture in notebooks, and `save` for files.

    >>> print(Drawing([], {}))
    ops: 0, leaves: 0, saved: 0 B
    """

    def __init__(self, nodes: list[Node], names: dict[Node, str]):
        self._rows: list[tuple[str, list[str], int | None]] = []  # label, parents, bytes saved
        numbers = {node: f"%{i}" for i, node in enumerate(nodes, 1)}
        data: set[int] = set()  # arrays counted, by id
        for node in nodes:
            if isinstance(node, Leaf) and (tensor := node.tensor()) is not None:
                data.add(id(_owner(tensor._data)))
        self.leaves = sum(isinstance(node, Leaf) for node in nodes)
        self.ops = len(nodes) - self.leaves - sum(isinstance(node, Out) for node in nodes)
        self.saved = 0  # bytes in all, each array once, without those of leaves
        for node in nodes:
            owners = {id(a): a for a in _arrays(node.saved)}
            self.saved += sum(a.nbytes for key, a in owners.items() if key not in data)
            data |= {*owners}
            own = None if node.saved is None else sum(a.nbytes for a in owners.values())
            parents = [numbers[p] for p in node.parents if p in numbers]
            self._rows.append((_label(node, names.get(node, "")), parents, own))

    def __str__(self) -> str:
        table = [
            (
                f"%{i}",
                *label.split("\t"),
                " ".join(parents),
                "freed" if size is None else f"saves {_bytes(size)}" if size else "",
            )
            for i, (label, parents, size) in enumerate(self._rows, 1)
        ]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join([c.ljust(w) for c, w in zip(row, widths, strict=True)]).rstrip()
            for row in table
        ]
        counts = f"ops: {self.ops}, leaves: {self.leaves}, saved: {_bytes(self.saved)}"
        return "\n".join([*lines, counts])

    __repr__ = __str__

    def dot(self) -> str:
        """The graph in Graphviz's language, from leaves at the top to the result."""
        lines = ["digraph tape {", '  node [fontname="monospace", fontsize=10];']
        for i, (label, parents, size) in enumerate(self._rows, 1):
            text = "\\n".join([part for part in label.split("\t") if part])
            text += f"\\nsaves {_bytes(size)}" if size else ""
            text = text.replace('"', '\\"')
            shape = "box, style=filled" if label.startswith("leaf\t") else "ellipse"
            lines.append(f'  {i} [label="{text}", shape={shape}];')
            lines += [f"  {parent[1:]} -> {i};" for parent in parents]
        return "\n".join([*lines, "}", ""])

    def render(self, kind: str = "svg") -> bytes:
        """A picture of a kind that Graphviz knows: svg, png, pdf. BackendError where its program
        `dot` is not installed."""
        source = self.dot().encode()
        if (program := shutil.which("dot")) is None:
            raise BackendError(
                "draw: Graphviz's program dot is not installed (apt install graphviz): "
                "print(drawing) is text, drawing.dot() the source of the picture"
            )
        done = subprocess.run([program, f"-T{kind}"], input=source, capture_output=True)
        if done.returncode:
            raise ArgumentError(f"draw: dot -T{kind} failed: {done.stderr.decode().strip()}")
        return done.stdout

    def save(self, path: str | Path) -> None:
        """Write the text (.txt), the source (.dot) or a picture (.svg, .png, .pdf) to a file."""
        path = Path(path)
        if not path.suffix:
            raise ArgumentError(
                f"draw: {str(path)!r} has no ending: .txt, .dot, .svg, .png or .pdf"
            )
        text = {".txt": f"{self}\n", ".dot": self.dot()}.get(path.suffix)
        path.write_bytes(self.render(path.suffix[1:]) if text is None else text.encode())

    def _repr_svg_(self) -> str | None:
        return self.render().decode() if shutil.which("dot") else None


def draw(result: Any, names: Any = None) -> Drawing:
    """The tape behind a result: ops from the leaves on, with shapes, dtypes and saved bytes.

    Args:
        result: a tensor, or a tree of them.
        names: a module, whose parameters are then named by path, or a dict of tensors by name.
    Returns: a Drawing: `print` it, look at it in a notebook, or `.save("tape.svg")` where Graphviz
        is installed. What is saved in all counts each array once, and none of leaves.
    Raises: GraphError where nothing was recorded.

    >>> w = tensor([1.0, 2.0], requires_grad=True)
    >>> print(draw((w * w).sum(), {"w": w}))
    %1  leaf    w  (2,)  float32
    %2  square     (2,)  float32  %1  saves 8 B
    %3  sum        ()    float32  %2
    ops: 2, leaves: 1, saved: 0 B
    """
    roots = [t.node for t in leaves(result) if isinstance(t, Tensor) and t.node is not None]
    if not roots:
        raise GraphError("draw: this was not recorded: no tensor of it requires gradients")
    if hasattr(names, "named_parameters"):
        names = dict(names.named_parameters())
    if not isinstance(names, (Mapping, type(None))):
        raise ArgumentError("draw: names is a module or a dict of tensors by name")
    by_node = {t.node: k for k, t in (names or {}).items() if getattr(t, "node", None) is not None}
    return Drawing(_behind(roots), by_node)


def _behind(roots: list[Node]) -> list[Node]:
    """All nodes that the roots depend on, oldest first."""
    found, todo = set[Node](), list(roots)
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            todo += [p for p in node.parents if p is not None]
    return sorted(found, key=lambda node: node.seq)


def _label(node: Node, name: str) -> str:
    if isinstance(node, Out):  # with hooks or without
        return f"output {node.index}\t{name}\t{node.shape}\t{node.dtype}"
    what = "leaf" if node.op is None else node.op.name
    if node.dtype is None:  # of several outputs
        return f"{what}\t{name}\t{node.shape} outputs\t"
    return f"{what}\t{name}\t{node.shape}\t{node.dtype}"


def _arrays(saved: Any) -> Iterator[Any]:
    for a in saved or ():
        if type(a) is tuple:
            yield from _arrays(a)
        elif type(a) in BY_TYPE:
            yield _owner(a)


def _owner(a: Any) -> Any:
    while type(a.base) in BY_TYPE:
        a = a.base
    return a


def _bytes(size: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024  # type: ignore[assignment]
    return f"{size:.4g} GiB"
