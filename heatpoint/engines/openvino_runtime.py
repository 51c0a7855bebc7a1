"""Loads OpenVINO, if it is installed, without its reporting home."""

from __future__ import annotations

import sys
from typing import Any

from heatpoint.errors import HeatpointError


def load_openvino() -> Any:
    """Returns the module ``openvino``.

    When it is imported it sends a usage report over the network, unless the package that does so
    is missing, which it is made to look like here. A program that wants to take part imports
    ``openvino`` first.

    Raises:
        HeatpointError: It is not installed.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise HeatpointError(
            f"OpenVINO cannot be loaded ({error}); install it with: "
            "pip install 'heatpoint[openvino]'"
        ) from None
    return openvino
