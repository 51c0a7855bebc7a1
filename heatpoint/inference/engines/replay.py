"""Replays on a GPU what it has been told before: one call instead of hundreds."""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Tensors = dict[str, Tensor]
Function = Callable[[Tensors], Tensors]
Key = tuple[tuple[str, tuple[int, ...], torch.dtype], ...]

MOST = 8
"""Sets of shapes that are recorded: each keeps its inputs and outputs in the GPU's memory."""

OFTEN = 8
"""Calls with one set of shapes behind which it is recorded. Recording empties PyTorch's store of
memory and asks once more for everything, which a short validation would not earn back."""

SELF_CHECK = 1e-2
"""Largest difference, relative to the largest value, between what is replayed and what is not: what
bfloat16 leaves open, should the GPU add up in another order."""

_ONE = threading.Lock()  # a process can record one thing at a time


@dataclass(frozen=True)
class Recording:
    """What a GPU was told for inputs of one set of shapes.

    Attributes:
        graph: All of it, a ``torch.cuda.CUDAGraph``.
        given: Where it reads its inputs.
        found: Where it leaves its outputs.
    """

    graph: Any
    given: Tensors
    found: Tensors

    def play(self, given: Tensors) -> Tensors:
        """Returns what the function finds in other inputs of the same shapes."""
        for name, each in given.items():
            self.given[name].copy_(each)
        self.graph.replay()
        return self.found


class Replayed:
    """A function of tensors on a GPU that is told once, and then replayed as a CUDA graph.

    A GPU computes a small network in less time than Python needs to ask for it, convolution by
    convolution: for one image of 512x512 an NVIDIA H200 takes 2.9 to 21 ms by calls and 1 to 6 by
    a graph, see benchmarks/gpu.md. Shapes that have come ``OFTEN`` are recorded, and what is
    replayed is compared with what is not.

    Args:
        function: Does the same for the same shapes, whatever the values, and reads none of them.
        called: What to call it in a warning.
    """

    def __init__(self, function: Function, called: str) -> None:
        self._function, self._called = function, called
        self._calls: Counter[Key] = Counter()
        self._recorded: dict[Key, Recording | None] = {}

    def __call__(self, given: Tensors) -> Tensors:
        """Returns the function's tensors, which the next call may overwrite.

        Call it in inference mode, from one thread at a time.

        Args:
            given: On the GPU.

        Raises:
            OutOfMemoryError: The GPU has not enough memory.
        """
        key = tuple((name, tuple(each.shape), each.dtype) for name, each in given.items())
        recording = self._recorded.get(key)
        if recording is not None:
            return recording.play(given)
        found = self._function(given)
        self._calls[key] += 1
        if self._calls[key] == OFTEN and len(self._recorded) < MOST:
            self._recorded[key] = self._checked(given, found)
        return found

    def _checked(self, given: Tensors, found: Tensors) -> Recording | None:
        """Returns the recording; None, with a warning, if there is none or it finds other things.

        Args:
            given: Inputs.
            found: What the function has found in them.
        """
        known = [each.graph for each in self._recorded.values() if each is not None]
        try:
            recording = record(self._function, given, known[0].pool() if known else None)
            again = recording.play(given)
        except RuntimeError as error:  # a plugin that reads values, or too little memory
            reason = (str(error).splitlines() or [type(error).__name__])[0]
        else:
            if all(_alike(value, again[name]) for name, value in found.items()):
                return recording
            reason = "what is replayed is something else"
        warnings.warn(
            f"{self._called} cannot be replayed ({reason}), so that the GPU is asked step by step, "
            "which takes longer",
            stacklevel=3,
        )
        return None


def record(function: Function, given: Tensors, pool: Any = None) -> Recording:
    """Returns what a GPU is told by a function, which must have been called before.

    Args:
        function: See ``Replayed``.
        given: Inputs on the GPU; they are copied.
        pool: Memory of an earlier recording, if that is never replayed while results of this one
            are wanted; None for memory of its own.

    Raises:
        RuntimeError: The function reads values or moves them to the GPU, or memory is short.
    """
    inputs = {name: each.clone() for name, each in given.items()}
    device = next(iter(inputs.values())).device
    graph = torch.cuda.CUDAGraph()
    with (
        _ONE,
        torch.cuda.device(device),
        # If recording fails, its own stream stays the current one; this brings ours back.
        torch.cuda.stream(torch.cuda.current_stream(device)),
        # Other threads may use the GPU meanwhile, for another model say.
        torch.cuda.graph(graph, pool, capture_error_mode="thread_local"),
    ):
        found = function(inputs)
    return Recording(graph, inputs, found)


def _alike(one: Tensor, other: Tensor) -> bool:
    """Returns whether two results mean the same; NaN is like NaN."""
    if not one.is_floating_point():
        return torch.equal(one, other)
    finite = one[one.isfinite()].abs()
    room = SELF_CHECK * float(finite.max()) if finite.numel() else 0.0
    return torch.allclose(one, other, rtol=0, atol=room, equal_nan=True)
