"""What a compiled step does, as text."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .fuse import Group, as_map
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
    groups = [p for p in plan.calls if isinstance(p, Group)]
    calls = [p for p in plan.calls if not isinstance(p, Group)]
    before = [call for call in c.tape.calls if call.name != "effect"]
    lines = [
        f"  {len(before)} calls captured, {len(plan.calls)} left: {len(groups)} loops of machine "
        f"code, {len(calls)} calls; {plan.seconds * 1e3:.0f} ms to plan",
        f"  {len(plan.kept)} arrays from outside, {len(c.grads)} gradients, "
        f"{len(c.results)} results; {plan.calls_made} replays",
    ]
    for i, group in enumerate(groups):
        out = plan.captured.tape.values[group.maps[0].place]
        stored = sum(group.values[p].nbytes for p, _ in group.outs if p is not None)
        read = sum(group.values[p].nbytes for p in group.inputs())
        names = ", ".join(f"{n} {k}" for k, n in Counter(c.name for c in group.calls).items())
        lines.append(f"  loop {i} at {group.line or 'the optimizer'}: {names}; {out.dtype}"
                     f"{list(out.shape)}, reads {read:,} bytes, writes {stored:,}")  # fmt: skip
    for (call, why), n in Counter((p.name, _why(p, c.tape.values)) for p in calls).items():
        lines.append(f"  {n} x {call}: {why}")
    return lines


def _why(call: Any, values: list) -> str:
    """Why a call is no part of a loop."""
    if call.name == "effect":
        return "what the host does in each step"
    if as_map(call, values, False) is not None:
        return "too few beside it for a loop"
    if call.writes:
        return "in place"
    if call.op is not None and call.op.kind == "map":
        return "a map without a formula, or of other dtypes"
    return "no map"
