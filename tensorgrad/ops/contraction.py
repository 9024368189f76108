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

Steps = tuple[tuple[Any, dict[str, Any]], ...]  # ops of one operand, and their parameters


class Pair(NamedTuple):
    """Two operands that meet: their places, what is done to each before, the op, and after."""

    i: int
    j: int
    first: Steps
    second: Steps
    product: Any
    after: Steps


class Plan(NamedTuple):
    """What is done to each operand, which pairs of them meet, what is done to the last one."""

    before: tuple[Steps, ...]
    pairs: tuple[Pair, ...]
    after: Steps


Sizes = dict[str, int]


@lru_cache(maxsize=1024)
def plan(terms: Terms, shapes: tuple[tuple[int, ...], ...], order: Any) -> Plan:
    """How to contract operands of these shapes; ValueError where they do not fit. `order`: what
    NumPy's einsum takes as `optimize`, lists as tuples."""
    size = _sizes(terms, shapes)
    left: list[str] = []
    before = []
    for term, shape in zip(terms.inputs, shapes, strict=True):  # drop axes that broadcast
        wide = [i for i, n in enumerate(shape) if n == size[term[i]]]
        left.append("".join([term[i] for i in wide]))
        before.append(_viewed(left[-1], left[-1], size) if len(wide) < len(term) else ())
    pairs = []
    for i, j in _order(left, terms.output, size, order):
        b, a = left.pop(j), left.pop(i)
        needed = set(terms.output).union(*left)
        pair, term = _pair(i, j, a, b, needed, terms.output if not left else "", size)
        pairs.append(pair)
        left.append(term)
    after, term = _alone(left[0], set(terms.output), size)
    return Plan(tuple(before), tuple(pairs), after + _turned(term, terms.output))


def _sizes(terms: Terms, shapes: tuple[tuple[int, ...], ...]) -> Sizes:
    """The length of each label's axes, of which those of length 1 broadcast."""
    size: Sizes = {}
    for term, shape in zip(terms.inputs, shapes, strict=True):
        for label, n in zip(term, shape, strict=True):
            here = term.count(label) > 1 and n != shape[term.index(label)]  # no broadcast within
            if size.setdefault(label, n) != n and (here or 1 not in (n, size[label])):
                named = "an axis of the ellipsis" if label < " " else repr(label)
                raise ValueError(f"{named} has the lengths {size[label]} and {n}")
            size[label] = n if size[label] == 1 else size[label]
    return size


def _order(terms: list[str], output: str, size: Sizes, order: Any) -> list[tuple[int, int]]:
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
        known = places and places[0] >= 0 and places[-1] < n
        if not known or len(places) < min(2, n) or len(set(places)) < len(places):
            raise ValueError(f"optimize={order!r}: {tuple(step)} are no places among {n} operands")
        while len(places) > 1:  # the first two; the result, at the end, is then one of them
            i, j = places[:2]
            places = [p - 2 for p in places[2:]] + [n - 2]
            made.append((i, j))
            n -= 1
    if n != 1:
        raise ValueError(f"optimize={order!r} leaves {n} operands")
    return made


def _turned(term: str, wanted: str) -> Steps:
    """The axes in another order, where it is another."""
    if term == wanted:
        return ()
    return ((transpose, {"axes": tuple([term.index(x) for x in wanted])}),)


def _viewed(term: str, wanted: str, size: Sizes, shape: list[int] | None = None) -> Steps:
    """The axes in another order and under a shape, by default that of their own lengths."""
    own = [size[x] for x in wanted]
    steps = _turned(term, wanted)
    if shape == own:
        return steps
    return (*steps, (reshape, {"shape": tuple(own if shape is None else shape)}))


def _alone(term: str, needed: set[str], size: Sizes) -> tuple[Steps, str]:
    """Repeated labels become one axis, the last; those that nothing else has are summed."""
    steps: list[Any] = []
    for label in dict.fromkeys(term):
        while term.count(label) > 1:
            i = term.index(label)
            j = term.index(label, i + 1)
            term, n = term[:i] + term[i + 1 : j] + term[j + 1 :], size[label]
            steps += [
                (moveaxis, {"source": (i, j), "destination": (-2, -1)}),
                (reshape, {"shape": (*[size[x] for x in term], n * n)}),
                (getitem, {"template": (..., slice(None, None, n + 1))}),
            ]
            term += label
    if axes := tuple([i for i, label in enumerate(term) if label not in needed]):
        steps.append((sum_, {"axis": axes}))
    return tuple(steps), "".join([x for x in term if x in needed])


def _pair(
    i: int, j: int, a: str, b: str, needed: set[str], output: str, size: Sizes
) -> tuple[Pair, str]:
    """Two operands as (batch, rows, summed) and (batch, summed, columns), for a matmul; for an
    elementwise product where no label is summed. And the term of their product."""
    first, a = _alone(a, needed | set(b), size)
    second, b = _alone(b, needed | set(a), size)
    if output and output[-1] in {*a} - {*b} and needed & {*b} - {*a}:  # else it is transposed
        i, j, first, second, a, b = j, i, second, first, b, a
    both = [x for x in a if x in b]
    summed = "".join([x for x in both if x not in needed])
    batch = "".join([x for x in output or both if x in both and x in needed])
    rows = "".join([x for x in output or a if x in a and x not in b])
    columns = "".join([x for x in output or b if x in b and x not in a])
    if not summed:
        term = output or batch + rows + columns
        for_each = []
        for x in (a, b):  # axes that it has not are of length 1, in front there are none
            start = min([k for k, label in enumerate(term) if label in x], default=len(term))
            shape = [size[label] if label in x else 1 for label in term[start:]]
            wanted = "".join([label for label in term if label in x])
            for_each.append(_viewed(x, wanted, size, shape))
        return Pair(i, j, first + for_each[0], second + for_each[1], multiply, ()), term

    def lengths(labels: str) -> list[int]:
        return [size[x] for x in labels]

    def merged(labels: str) -> list[int]:
        return [math.prod(lengths(labels))] if labels or batch else []

    down = merged(rows) if batch else lengths(rows)  # those of one matrix need not be merged
    inner, across = [math.prod(lengths(summed))], merged(columns)
    first += _viewed(a, batch + rows + summed, size, lengths(batch) + down + inner)
    second += _viewed(b, batch + summed + columns, size, lengths(batch) + inner + across)
    term = batch + rows + columns
    same = lengths(batch) + down + across == lengths(term)
    after = () if same else ((reshape, {"shape": tuple(lengths(term))}),)
    return Pair(i, j, first, second, matmul, after), term


# --- carrying it out ------------------------------------------------------------------------------


def _done(x: Any, steps: Steps) -> Any:
    for op, params in steps:
        x = op(x, **params)
    return x


def contract(how: Plan, xs: list[Any]) -> Any:
    """The operands, arrays or Tensors, contracted by a plan."""
    xs = [_done(x, steps) for x, steps in zip(xs, how.before, strict=True)]
    for i, j, first, second, product, after in how.pairs:
        a, b = xs[i], xs[j]
        del xs[max(i, j)], xs[min(i, j)]
        xs.append(_done(product(_done(a, first), _done(b, second)), after))
    return _done(xs[0], how.after)
