"""Einstein summation as a plan of ops: which axes of which operand are summed, and in which order.

A *term* is a string with a label for each axis, all of them ordinary characters but those of an
ellipsis, which are the first of Unicode. A plan follows from terms and shapes alone and is cached;
to carry it out takes views, and one matmul for each pair of operands that share a summed label.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .elementwise import multiply
from .index import getitem
from .matmul import matmul
from .reduce import sum_
from .shape import moveaxis, reshape, transpose

# --- terms ----------------------------------------------------------------------------------------


class Terms(NamedTuple):
    """The labels of each operand's axes, and of the result's."""

    inputs: tuple[str, ...]
    output: str


@lru_cache(maxsize=1024)
def parse(subscripts: str, axes: tuple[int, ...]) -> Terms:
    """The terms of NumPy's subscripts, for operands of so many axes. ValueError says what is wrong.

    >>> parse("ij,jk", (2, 2))
    Terms(inputs=('ij', 'jk'), output='ik')
    """
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    given = left.split(",")
    if len(given) != len(axes):
        raise ValueError(f"{len(given)} terms for {len(axes)} operands")
    inputs = tuple([_spelled(term, n) for term, n in zip(given, axes, strict=True)])
    dots = max([sum(label < " " for label in term) for term in inputs])
    ellipsis = "".join([chr(i) for i in range(31 - dots, 31)])
    if not arrow:
        every = "".join(inputs)
        once = [label for label in sorted(set(every)) if label > " " and every.count(label) == 1]
        return Terms(inputs, ellipsis + "".join(once))
    if dots and "..." not in right:
        raise ValueError(f"the result has no `...`, which stands for {dots} axes of the operands")
    output = _letters(right.replace("...", ellipsis, 1))
    for label in output:
        if output.count(label) > 1:
            raise ValueError(f"the result has {label!r} twice")
        if not any(label in term for term in inputs):
            raise ValueError(f"the result has {label!r}, which no operand has")
    return Terms(inputs, output)


def _spelled(term: str, n: int) -> str:
    """A term for an operand of n axes, with a label for each of them that the ellipsis covers."""
    names = _letters(term.replace("...", "", 1))
    dots = n - len(names)
    if dots < 0 or (dots and "..." not in term):
        raise ValueError(f"the term {term!r} has {len(names)} labels for an operand of {n} axes")
    return term.replace("...", "".join([chr(i) for i in range(31 - dots, 31)]), 1)


def _letters(term: str) -> str:
    for label in term:
        if not label.isalpha() and " " < label < NUMBERED:
            raise ValueError(f"the term {term!r} has {label!r}: terms hold letters and one `...`")
    return term


NUMBERED = "\u1000"  # the label 0 of operands that come with lists of numbers


def numbered(labels: Any) -> str:
    """The term of a list of whole numbers, and perhaps an Ellipsis."""
    return "".join(["..." if n is ... else chr(ord(NUMBERED) + n) for n in labels])


# --- the plan -------------------------------------------------------------------------------------


class Single(NamedTuple):
    """What is done to one operand before it meets another: diagonals, then sums."""

    diagonals: tuple[tuple[int, int], ...]
    axes: tuple[int, ...]


class Pair(NamedTuple):
    """Two operands, each as views of these axes and shapes, None where it fits already; their
    matmul, or product if no label is summed; and the shape of the result."""

    places: tuple[int, int]
    first: tuple[Single, Single]
    axes: tuple[Any, Any]
    shapes: tuple[Any, Any]
    multiplies: bool
    shape: Any


class Plan(NamedTuple):
    """Reshapes that drop broadcast axes, pairs, what is left to do to the last operand."""

    shapes: tuple[Any, ...]
    pairs: tuple[Pair, ...]
    last: Single
    axes: Any


@lru_cache(maxsize=1024)
def plan(terms: Terms, shapes: tuple[tuple[int, ...], ...], order: Any) -> Plan:
    """How to contract operands of these shapes; ValueError where they do not fit. `order`: what
    NumPy's einsum takes as `optimize`, lists as tuples."""
    size: dict[str, int] = {}
    for term, shape in zip(terms.inputs, shapes, strict=True):
        for label, n in zip(term, shape, strict=True):
            here = term.count(label) > 1 and n != shape[term.index(label)]  # no broadcast within
            if size.setdefault(label, n) != n and (here or 1 not in (n, size[label])):
                named = "an axis of the ellipsis" if label < " " else f"{label!r}"
                raise ValueError(f"{named} has the lengths {size[label]} and {n}")
            size[label] = n if size[label] == 1 else size[label]
    kept, fitting = [], []
    for term, shape in zip(terms.inputs, shapes, strict=True):
        wide = [i for i, n in enumerate(shape) if n == size[term[i]]]
        kept.append("".join([term[i] for i in wide]))
        fitting.append(None if len(wide) == len(term) else tuple([shape[i] for i in wide]))
    left, pairs = list(kept), []
    for places in _pairs(kept, terms.output, size, order):
        i, j = sorted(places)
        b, a = left.pop(j), left.pop(i)
        needed = set(terms.output).union(*left)
        pair, term = _pair((i, j), a, b, needed, terms.output if not left else "", size)
        pairs.append(pair)
        left.append(term)
    last, term = _single(left[0], set(terms.output))
    axes = tuple([term.index(label) for label in terms.output])
    return Plan(tuple(fitting), tuple(pairs), last, None if _in_order(axes) else axes)


def _in_order(axes: tuple[int, ...]) -> bool:
    return axes == tuple(range(len(axes)))


def _pairs(terms: list[str], output: str, size: dict[str, int], order: Any) -> Any:
    """Which two operands of those that are left meet next; the result is put at the end."""
    n, path = len(terms), [tuple(range(len(terms)))]
    if n > 2 and order:
        names = list(dict.fromkeys("".join(terms)))
        if not isinstance(order, (bool, str)):
            path = [step for step in order if step != "einsum_path"]
        elif len(names) <= 52:  # of so many letters NumPy knows
            calls: list[Any] = []
            for term in terms:
                shape = [size[label] for label in term]
                calls += [np.broadcast_to(0.0, shape), [names.index(label) for label in term]]
            calls.append([names.index(label) for label in output])
            path = np.einsum_path(*calls, optimize=order)[0][1:]
    made = []
    for step in path:
        places = sorted(step)
        if (
            len(places) < min(2, n)
            or places[0] < 0
            or places[-1] >= n
            or len(set(places)) < len(places)
        ):
            raise ValueError(f"optimize={order!r}: {tuple(step)} are no places among {n} operands")
        while len(places) > 1:  # the first two; the result, at the end, is then one of them
            i, j = places[:2]
            places = [p - 2 for p in places[2:]] + [n - 2]
            made.append((i, j))
            n -= 1
    if n != 1:
        raise ValueError(f"optimize={order!r} leaves {n} operands")
    return made


def _single(term: str, needed: set[str]) -> tuple[Single, str]:
    """Repeated labels become one axis, the last; those that nothing else has are summed."""
    diagonals = []
    for label in dict.fromkeys(term):
        while term.count(label) > 1:
            i = term.index(label)
            j = term.index(label, i + 1)
            diagonals.append((i, j))
            term = term[:i] + term[i + 1 : j] + term[j + 1 :] + label
    axes = tuple([i for i, label in enumerate(term) if label not in needed])
    return Single(tuple(diagonals), axes), "".join([x for x in term if x in needed])


def _pair(
    places: tuple[int, int], a: str, b: str, needed: set[str], output: str, size: dict[str, int]
) -> tuple[Pair, str]:
    """One step: the two operands as (batch, rows, summed) and (batch, summed, columns)."""
    first, a = _single(a, needed | set(b))
    second, b = _single(b, needed | set(a))
    if (
        output[-1:] and output[-1] in set(a) - {*b} and needed & {*b} - {*a}
    ):  # else the result is transposed
        places, first, second, a, b = places[::-1], second, first, b, a
    both = [x for x in a if x in b]
    summed = [x for x in both if x not in needed]
    batch = [x for x in output or both if x in both and x in needed]
    rows = [x for x in output or a if x in a and x not in b]
    columns = [x for x in output or b if x in b and x not in a]

    def view(term: str, wanted: list[str], shape: list[int]) -> tuple[Any, Any]:
        axes = tuple([term.index(x) for x in wanted])
        same = [size[x] for x in wanted] == shape
        return None if _in_order(axes) else axes, None if same else tuple(shape)

    def lengths(*labels: list[str]) -> list[int]:
        return [size[x] for part in labels for x in part]

    def merged(labels: list[str]) -> list[int]:
        return [math.prod(lengths(labels))]

    if not summed:
        wanted = list(output) or [*batch, *rows, *columns]
        shapes = [  # without the axes in front that it has not: they broadcast
            [
                size[x] if x in term else 1
                for i, x in enumerate(wanted)
                if {*wanted[: i + 1]} & {*term}
            ]
            for term in (a, b)
        ]
        views = [
            view(term, [x for x in wanted if x in term], shape)
            for term, shape in zip((a, b), shapes, strict=True)
        ]
        shape, term = None, "".join(wanted)
    else:
        k = merged(summed)
        many = lengths(rows) if not batch else merged(rows)  # rows of one matrix need not be merged
        flat = many if rows or batch else []
        across = merged(columns) if columns or batch else []
        views = [
            view(a, [*batch, *rows, *summed], lengths(batch) + flat + k),
            view(b, [*batch, *summed, *columns], lengths(batch) + k + across),
        ]
        term = "".join([*batch, *rows, *columns])
        full = lengths(batch, rows, columns)
        shape = None if full == lengths(batch) + flat + across else tuple(full)
    axes, fitted = zip(*views, strict=True)
    return Pair(places, (first, second), axes, fitted, not summed, shape), term


# --- carrying it out ------------------------------------------------------------------------------


def _prepared(x: Any, single: Single) -> Any:
    for axes in single.diagonals:
        x = moveaxis(x, source=axes, destination=(-2, -1))
        n = x.shape[-1]
        x = reshape(x, shape=(*x.shape[:-2], n * n))
        x = getitem(x, template=(..., slice(None, None, n + 1)))
    return sum_(x, axis=single.axes) if single.axes else x


def contract(how: Plan, xs: list[Any]) -> Any:
    """The operands, arrays or Tensors, contracted by a plan."""
    xs = [x if s is None else reshape(x, shape=s) for x, s in zip(xs, how.shapes, strict=True)]
    for places, first, axes, shapes, multiplies, shape in how.pairs:
        pair = []
        for place, single, order, wanted in zip(places, first, axes, shapes, strict=True):
            x = _prepared(xs[place], single)
            x = x if order is None else transpose(x, axes=order)
            pair.append(x if wanted is None else reshape(x, shape=wanted))
        y = (multiply if multiplies else matmul)(*pair)
        xs = [x for i, x in enumerate(xs) if i not in places]
        xs.append(y if shape is None else reshape(y, shape=shape))
    x = _prepared(xs[0], how.last)
    return x if how.axes is None else transpose(x, axes=how.axes)
