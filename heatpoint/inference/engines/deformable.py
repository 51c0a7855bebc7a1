"""What runtimes need to run deformable convolutions: to be recent, or to be taught.

OpenVINO has the operator but no rule that makes it of ONNX's ``DeformConv``. Its operator of the
domain org.openvinotoolkit, which has one, reads other cells at borders. A file that OpenVINO has
saved needs no rule any more.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import openvino

OPERATOR = "DeformConv"
"""Its name in ONNX, since opset 19."""

ONNX_RUNTIME = "1.25"
"""First version of ONNX Runtime that computes it on a processor."""


@cache
def openvino_core(library: Any) -> openvino.Core:
    """Returns the one entrance of this process to OpenVINO, which reads deformable convolutions.

    It must not go before the process does. On Linux each entrance gives the thread that first uses
    the processor through it a stack for handling signals, and takes it away again: with two that
    go in the order in which they came, or one that goes in another thread, the thread is left with
    a stack that is no more, and the next Ctrl-C ends the process by a segmentation fault
    (OpenVINO 2026.4).

    Args:
        library: The module ``openvino``.
    """
    from openvino.frontend.onnx import ConversionExtension

    def convert(node: Any) -> list[Any]:
        """Returns the outputs of a modulated deformable convolution with a bias."""
        features, weight, offset, bias, mask = (node.get_input(index) for index in range(5))
        pads = node.get_attribute("pads")
        operators = library.opset8
        product = operators.deformable_convolution(
            features,
            offset,
            weight,
            node.get_attribute("strides"),
            pads[:2],
            pads[2:],
            node.get_attribute("dilations"),
            mask,
            group=node.get_attribute("group"),
            deformable_group=node.get_attribute("offset_group"),
            bilinear_interpolation_pad=True,  # zeros outside of the map, as everywhere else
        )
        sides = operators.constant(np.array([1, -1, 1, 1]))
        return [operators.add(product, operators.reshape(bias, sides, False)).output(0)]

    core: openvino.Core = library.Core()
    core.add_extension(ConversionExtension(OPERATOR, convert))
    return core
