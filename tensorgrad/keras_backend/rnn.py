"""Recurrent layers: the loop over time, and LSTM and GRU as one op each where that is the layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras.src import activations, tree

import tensorgrad as tg

from .ops.core import Tensor, convert_to_tensor


def _turned(x: Tensor) -> Tensor:
    return tg.swapaxes(x, 0, 1)


def _beside(mask: Tensor, x: Tensor) -> Tensor:
    """A mask (n, 1) with as many axes as x."""
    return tg.reshape(mask, mask.shape[:1] + (1,) * (x.ndim - 1))


def rnn(
    step_function: Callable,
    inputs: Any,
    initial_states: Any,
    go_backwards: bool = False,
    mask: Any = None,
    constants: Any = None,
    unroll: bool = False,
    input_length: Any = None,
    time_major: bool = False,
    zero_output_for_mask: bool = False,
    return_all_outputs: bool = True,
) -> tuple[Any, Any, Any]:
    """The step again and again along the time axis: the last output, all outputs, the last states.

    A masked step keeps the states, and gives the output before it, or 0.
    """
    inputs = tree.map_structure(convert_to_tensor, inputs)
    if not time_major:
        inputs = tree.map_structure(_turned, inputs)
    sequences = [tg.unstack(x) for x in tree.flatten(inputs)]
    steps = len(sequences[0])
    if unroll and not steps:
        raise ValueError("Unrolling requires a fixed number of timesteps.")
    masks: Any = None
    if mask is not None:
        if tree.is_nested(mask):
            raise ValueError(f"mask_t is expected to be tensor, but got {mask}")
        mask = convert_to_tensor(mask, "bool")
        mask = mask if time_major else _turned(mask)
        if mask.ndim > 2:
            mask = tg.reshape(mask, mask.shape[:2])
        masks = tg.unstack(mask)
    constants = tuple(constants or ())
    states = tree.map_structure(convert_to_tensor, tuple(initial_states))
    outputs: list[Any] = []
    for i in reversed(range(steps)) if go_backwards else range(steps):
        step = tree.pack_sequence_as(inputs, [x[i] for x in sequences])
        y, new = step_function(step, (*states, *constants))
        new = tuple(new)
        if masks is not None:
            on = masks[i]
            if outputs and not zero_output_for_mask:
                before = outputs[-1]
            else:
                before = tree.map_structure(tg.zeros_like, y)
            y = tree.map_structure(lambda a, b, on=on: tg.where(_beside(on, a), a, b), y, before)
            new = tree.map_structure(
                lambda a, b, on=on: tg.where(_beside(on, a), a, b), new, states
            )
        states = new
        outputs.append(y)
    final = outputs[-1]
    kept = outputs if return_all_outputs else outputs[-1:]
    made = tree.map_structure(lambda *ys: tg.stack(ys), *kept)
    return final, made if time_major else tree.map_structure(_turned, made), states


def _right_padded(mask: Any) -> bool:
    """Whether no step follows a masked one in any row."""
    on = mask.numpy()
    return bool((on[:, :-1] >= on[:, 1:]).all())


def _plain(activation: Any, recurrent_activation: Any, unroll: bool, x: Tensor, mask: Any) -> None:
    """NotImplementedError, by which Keras takes the loop, where the fused op is another layer."""
    usual = activation is activations.tanh and recurrent_activation is activations.sigmoid
    if not usual or unroll or mask is not None or x.ndim != 3 or x.dtype.itemsize == 2:
        raise NotImplementedError


def _order(x: Tensor, go_backwards: bool) -> Tensor:
    return tg.flip(x, 1) if go_backwards else x


def lstm(
    inputs: Any,
    initial_state_h: Any,
    initial_state_c: Any,
    mask: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    activation: Any,
    recurrent_activation: Any,
    return_sequences: bool = False,
    go_backwards: bool = False,
    unroll: bool = False,
    **options: Any,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """An LSTM over whole sequences, as one op."""
    x = convert_to_tensor(inputs)
    _plain(activation, recurrent_activation, unroll, x, mask)
    given = (initial_state_h, initial_state_c, kernel, recurrent_kernel)
    h, c, w, u = (convert_to_tensor(a) for a in given)
    b = None if bias is None else convert_to_tensor(bias)
    y, h, c = tg.lstm(_order(x, go_backwards), h, c, w, u, b)
    return h, y if return_sequences else tg.expand_dims(h, 1), [h, c]


def gru(
    inputs: Any,
    initial_state: Any,
    mask: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    activation: Any,
    recurrent_activation: Any,
    return_sequences: bool = False,
    go_backwards: bool = False,
    unroll: bool = False,
    reset_after: bool = True,
    **options: Any,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """A GRU over whole sequences, as one op. Keras's gates are z, r, n; ours r, z, n."""
    x = convert_to_tensor(inputs)
    _plain(activation, recurrent_activation, unroll, x, mask)
    if not reset_after:
        raise NotImplementedError
    w, u = (_gates(convert_to_tensor(a)) for a in (kernel, recurrent_kernel))
    b, bu = (None, None) if bias is None else tg.unstack(_gates(convert_to_tensor(bias)))
    y, h = tg.gru(_order(x, go_backwards), convert_to_tensor(initial_state), w, u, b, bu)
    return h, y if return_sequences else tg.expand_dims(h, 1), [h]


def _gates(a: Tensor) -> Tensor:
    z, r, n = tg.split(a, 3, -1)
    return tg.concatenate([r, z, n], -1)


def bidirectional_lstm(*args: Any, **kwargs: Any) -> Any:
    """Two LSTMs, which the layer calls by themselves."""
    raise NotImplementedError


def bidirectional_gru(*args: Any, **kwargs: Any) -> Any:
    """Two GRUs, which the layer calls by themselves."""
    raise NotImplementedError


def cudnn_ok(*args: Any, **kwargs: Any) -> bool:
    """Whether cuDNN's layer is used: `lstm` and `gru` decide by themselves."""
    return False
