"""What a compiled step does, as text."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .fuse import Group, Segment
from .plan import Plan


def explained(name: str, eager: str | None, plans: dict[Any, list[Plan]]) -> str:
    """Each plan of a step: what was captured, what is left, the loops and the calls between."""
    if eager is not None:
        return f"{name} runs eagerly: {eager}"
    lines = [] if plans else [f"{name} is not captured yet"]
    for key, several in plans.items():
        for plan in several:
            lines += [f"{name} of {_form(key)}", *_of(plan)]
    return "\n".join(lines)


def _form(key: Any) -> str:
    parts = [f"{p[1]}{list(p[0])}" if isinstance(p[0], tuple) else repr(p[1]) for p in key[-1]]
    return ", ".join(parts) or "no arguments"


def _of(plan: Plan) -> list[str]:
    c = plan.captured
    segments = [p for p in plan.calls if type(p) is Segment]
    calls = [p for p in plan.calls if type(p) is not Segment]
    calls += [effect for segment in segments for effect in segment.effects]
    before = [call for call in c.tape.calls if call.name != "effect"]
    code = sum(part.scratch is not None for s in segments for part in s.parts)
    lines = [
        f"  {len(before)} calls captured; {len(segments)} programs of machine code of {code} loops "
        f"and products, {len(calls)} calls; {plan.seconds * 1e3:.0f} ms to plan",
        f"  {len(plan.kept)} arrays from outside, {len(c.grads)} gradients, "
        f"{len(c.results)} results; {plan.calls_made} replays",
    ]
    for i, segment in enumerate(segments):
        lines.append(f"  program {i}:")
        for part in segment.parts:
            names = ", ".join(f"{n} {k}" for k, n in Counter(c.name for c in part.calls).items())
            kind = "loop" if type(part) is Group else "call"
            where = part.calls[0].line or "the optimizer"
            lines.append(f"    {kind} at {where}: {names}; {_stored(part, segment)}")
    for (call, why), n in Counter((p.name, _why(p, plan)) for p in calls).items():
        lines.append(f"  {n} x {call}: {why}")
    return lines


def _stored(part: Any, segment: Segment) -> str:
    """What a part of a program writes."""
    values = segment.values
    made = [f"{values[p].dtype}{list(values[p].shape)}" for p in part.places]
    return "writes " + (", ".join(made) or "in place")


def _why(call: Any, plan: Plan) -> str:
    """Why a call is no part of a program."""
    if call.name == "effect":
        return "what the host does in each step"
    if plan.exact is None:
        return "no LLVM that compiles programs"
    if Segment(plan.captured, plan.fixed(), plan.exact, True).takes(call):
        return "too few beside it for a program"
    if call.writes:
        return "in place"
    if call.op is not None and call.op.kind == "map":
        return "a map without a formula, or of other dtypes"
    return "a kernel, which takes less time than a program would" if call.op else "of NumPy"
