"""What is exported: a network with normalisation and decoding, from pixels to candidates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.export import Dim, export

from heatpoint.codecs.base import with_honest_scores
from heatpoint.codecs.peaks import portable
from heatpoint.errors import HeatpointError
from heatpoint.inference.engines.description import Description
from heatpoint.networks.corner_pool import at_most
from heatpoint.networks.fast import fast
from heatpoint.zoo.detector import Detector

SIDES = ((2, 3), (3, 1))
"""Height and width, in multiples, of the images that a program is made and tried with."""

LONGEST = 65536
"""Most pixels of a side of images of any size: more than image files have."""

AGREEMENT = 1e-4
"""Largest difference, relative to the largest value, of a program and what it stands for."""


class Deployed(nn.Module):
    """A detector as one program of standard operators, all of whose shapes follow its input.

    The network is a copy with folded batch norms that computes in float32 and gives the maps of
    the last stack only.

    Args:
        detector: Left as it is.
        flip: Runs the mirrored images too, in the same batch, and merges their maps.
        max_detections: Rows at least; the codec's own number may be larger.

    Attributes:
        outputs: Names of what is returned, in order: the fields of the codec's answer.
    """

    def __init__(self, detector: Detector, *, flip: bool, max_detections: int) -> None:
        super().__init__()
        self.network = fast(detector.network, "fp32", "cpu")
        self.network = self.network.to(memory_format=torch.contiguous_format)
        # What writes into its input is taken apart into many operators first, and slowly so.
        for module in self.network.modules():
            if hasattr(module, "inplace"):
                setattr(module, "inplace", False)  # noqa: B010  (modules are typed by tensors)
        self.codec, self.flip = detector.codec.with_rows(max_detections), flip
        self.outputs = tuple(field.name for field in self.codec.answer)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Returns the fields of the codec's answer; scores are NaN where a map is not finite.

        Args:
            images: (B, 3, H, W) uint8 RGB.
        """
        if not self.flip:
            maps = self.network(images)[-1]
        else:
            both = self.network(torch.cat((images, images.flip(-1))))[-1]
            batch = images.shape[0]
            mirrored = {name: values[batch:] for name, values in both.items()}
            maps = {name: values[:batch] for name, values in both.items()}
            maps = self.codec.merge_flipped(maps, mirrored)
        rows = with_honest_scores(self.codec.decode(maps), maps)
        return tuple(rows[name] for name in self.outputs)


def written(
    deployed: Deployed, description: Description
) -> tuple[torch.export.ExportedProgram, list[str]]:
    """Writes down what a detector computes, and makes sure that it holds for what is promised.

    A program follows one example; a network that decides by the example's numbers what to do
    would become one that is wrong for others. So a program for any size or batch has to say about
    another one what the detector itself says.

    Args:
        deployed: The detector.
        description: Says whether size and batch are open.

    Returns:
        The program of images (B, 3, H, W) uint8, and the names of its outputs.

    Raises:
        HeatpointError: The network depends on the size, the batch or the numbers in ways that
            cannot be written down.
    """
    multiple, trim, size = description.multiple, description.trim, description.size
    sizes, longest, sides = [size, size], max(size), {}
    if description.dynamic:
        sizes = [(high * multiple - trim, wide * multiple - trim) for high, wide in SIDES]
        longest = LONGEST
        high, wide = (Dim(name, min=1, max=LONGEST // multiple) for name in ("high", "wide"))
        sides = {2: high * multiple - trim, 3: wide * multiple - trim}
    batches, batch = (2, 1), {0: Dim("batch")}
    if description.batch is not None:
        batches, batch = (description.batch,) * 2, {}
    example, other = (
        _noise(*each, seed) for seed, each in enumerate(zip(batches, sizes, strict=True))
    )
    # Corner pooling compares no more often than the longest side takes.
    with torch.no_grad(), portable(), at_most(-(-longest // deployed.codec.stride)):
        expected = deployed(other)
        try:
            program = export(deployed, (example,), dynamic_shapes=(batch | sides,))
            # Its guards refuse sides of one multiple, where it is right as well: see what it says.
            found = program.module(check_guards=False)(other)
        except (RuntimeError, ValueError, AssertionError) as error:
            raise _refusal(description, str(error).splitlines()[0]) from error
    if not _agree(found, expected):
        raise _refusal(description, "its answers differ from those of the detector")
    return program, list(deployed.outputs)


def _noise(batch: int, size: tuple[int, int], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, 3, *size), generator=generator, dtype=torch.uint8)


def _agree(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    """Returns whether a program says what the detector itself says."""
    return all(
        one.shape == another.shape
        and bool((one - another).abs().max() <= AGREEMENT * another.abs().max().clamp(min=1))
        for one, another in zip(found, expected, strict=True)
    )


def _refusal(description: Description, reason: str) -> HeatpointError:
    if description.dynamic or description.batch is None:
        return HeatpointError(
            f"{description.called} computes something else for every size of images, which one "
            f"file cannot hold ({reason}); export it for one size and batch, with --no-dynamic and "
            "--batch 1"
        )
    return HeatpointError(
        f"{description.called} cannot be exported ({reason}); its network and its codec's decode "
        "should do the same operations whatever the numbers are"
    )
