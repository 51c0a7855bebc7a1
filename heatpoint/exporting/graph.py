"""What is exported: a network with normalisation and decoding, from pixels to candidates."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from heatpoint.codecs.joints import JointCodec
from heatpoint.detector.detector import Detector
from heatpoint.engines.description import Description
from heatpoint.errors import HeatpointError
from heatpoint.networks.fast import fast
from heatpoint.networks.layers.corner_pool import at_most

SIDES = ((1, 2), (3, 1))
"""Height and width, in multiples, of the images with which graphs for any size are made."""

LONGEST = 65536
"""Most pixels of a side of images of any size: more than image files have."""

AGREEMENT = 1e-4
"""Largest difference, relative to the largest value, of a graph and one made for the size."""


class Deployed(nn.Module):
    """A detector as one program of standard operators, all of whose shapes follow its input.

    The network is a copy with folded batch norms that computes in float32 and gives the maps of
    the last stack only.

    Args:
        detector: Left as it is.
        flip: Runs the mirrored images too, in the same batch, and merges their maps.
        max_detections: Rows of boxes at least; the codec's own number may be larger.

    Attributes:
        outputs: Names of what is returned, in order: the fields of the codec's candidates.
    """

    def __init__(self, detector: Detector, *, flip: bool, max_detections: int) -> None:
        super().__init__()
        codec = detector.codec
        if not isinstance(codec, JointCodec):
            codec = replace(codec, max_detections=max(max_detections, codec.max_detections))
        self.network = fast(detector.network, "fp32", "cpu")
        self.network = self.network.to(memory_format=torch.contiguous_format)
        self.codec, self.flip = codec, flip
        self.outputs: tuple[str, ...] = ()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Returns the fields of ``Candidates``, ``CornerCandidates`` or ``JointCandidates``.

        Args:
            images: (B, 3, H, W) uint8 RGB.
        """
        if not self.flip:
            found = self.codec.decode(self.network(images)[-1])
        else:
            both = self.network(torch.cat((images, images.flip(-1))))[-1]
            batch = images.shape[0]
            maps = {name: values[:batch] for name, values in both.items()}
            mirrored = {name: values[batch:] for name, values in both.items()}
            found = self.codec.decode(self.codec.merge_flipped(maps, mirrored))
        self.outputs = found._fields
        return tuple(found)


def trace(deployed: Deployed, description: Description) -> tuple[torch.jit.ScriptModule, Tensor]:
    """Writes down what a detector computes, and makes sure that it holds for what is promised.

    A trace follows one example; a network that decides by the example's size what to do would
    become one that is wrong for others. So a graph for any size or batch has to say about another
    one what a trace of that other one says.

    Args:
        deployed: The detector.
        description: Says whether size and batch are open.

    Returns:
        The program and the example, (B, 3, H, W) uint8.

    Raises:
        HeatpointError: The network depends on the size or the batch in ways that cannot be
            written down.
    """
    multiple, trim, size = description.multiple, description.trim, description.size
    sizes, longest = [size, size], max(size)
    if description.dynamic:
        sizes = [(high * multiple - trim, wide * multiple - trim) for high, wide in SIDES]
        longest = LONGEST
    batches = (2, 1) if description.batch is None else (description.batch,) * 2
    example, other = (
        _noise(*batch, seed) for seed, batch in enumerate(zip(batches, sizes, strict=True))
    )
    # Corner pooling compares no more often than the longest side takes.
    with at_most(-(-longest // deployed.codec.stride)):
        graph = _traced(deployed, example)
        sound = example.shape == other.shape or _agrees(graph, deployed, other)
    if not sound:
        raise HeatpointError(
            f"{description.called} computes something else for every size of images, which one "
            "file cannot hold; export it for one size and batch, with --no-dynamic and --batch 1"
        )
    return graph, example


def _noise(batch: int, size: tuple[int, int], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, 3, *size), generator=generator, dtype=torch.uint8)


def _traced(deployed: Deployed, images: Tensor) -> torch.jit.ScriptModule:
    with warnings.catch_warnings(), torch.no_grad():
        # Tracing warns of every number that may depend on the size; ``_agrees`` finds those that
        # do. It is also said to be superseded, by a way that knows no opset below 18.
        warnings.simplefilter("ignore")
        graph = torch.jit.trace(deployed, (images,), check_trace=False)  # type: ignore[no-untyped-call]
    return cast(torch.jit.ScriptModule, graph)


def _agrees(graph: torch.jit.ScriptModule, deployed: Deployed, images: Tensor) -> bool:
    """Returns whether a graph says about images what a graph made with them says."""
    with torch.no_grad():
        expected = _traced(deployed, images)(images)
        try:
            found = graph(images)
        except RuntimeError:  # shapes that do not fit each other
            return False
    return all(
        one.shape == another.shape
        and bool((one - another).abs().max() <= AGREEMENT * another.abs().max().clamp(min=1))
        for one, another in zip(found, expected, strict=True)
    )
