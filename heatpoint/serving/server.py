"""Opens the port and the model, answers until a signal comes, and finishes what is under way."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

from heatpoint.errors import HeatpointError
from heatpoint.serving import TOKEN, ServeOptions


def serve(options: ServeOptions, ready: Callable[[str], None]) -> None:
    """Answers requests until SIGTERM or Ctrl-C, and then those that are under way.

    Args:
        options: Say which model, where it listens, and what a request may cost.
        ready: Called with a sentence as soon as requests are answered.

    Raises:
        HeatpointError: A package is missing, the port is taken, an option is out of range, or the
            model cannot be opened.
    """
    try:
        import uvicorn

        from heatpoint.serving.app import make_app
        from heatpoint.serving.gate import Meters
        from heatpoint.serving.served import Served
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("heatpoint"):
            raise
        raise HeatpointError(
            f"serve needs the package {error.name}; pip install 'heatpoint[serve]'"
        ) from None

    # What is wrong with a form is told to its sender.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    limits, token = options.limits, os.environ.get(TOKEN, "")
    limits.check()
    listener = _listening(options.host, options.port)
    with listener:
        address = _address(options.host, listener.getsockname()[1])
        meters = Meters()
        model = Served(options.load, limits, meters.looks.observe)

        class Server(uvicorn.Server):
            """Says when it is there."""

            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                card = model.card()
                ready(f"{card['name']} finds {card['finds']} at {address}")

        if not token and not _is_local(options.host):
            print(
                f"heatpoint serve: {options.host} can be reached by others, and nothing is asked "
                f"of them; set {TOKEN} to a secret that requests must know",
                file=sys.stderr,
            )
        config = uvicorn.Config(
            make_app(model, limits, token, meters),
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=round(limits.seconds) + 1,
        )
        try:
            with suppress(KeyboardInterrupt):  # raised anew once all is finished
                Server(config).run(sockets=[listener])
        finally:
            model.close()


def _listening(host: str, port: int) -> socket.socket:
    """Returns a socket that is bound before the model is opened, which may take a while.

    Raises:
        HeatpointError: There is no such port, the address is not this machine's, or it is taken.
    """
    if not 0 <= port < 1 << 16:  # getaddrinfo would take what is left of it
        raise HeatpointError(f"port must lie between 0 and 65535, not {port}")
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise HeatpointError(
            f"cannot listen at {host}, port {port}: {getattr(error, 'strerror', '') or error}; "
            "choose another --host or --port, 0 for a free one"
        ) from None
    return listener


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _is_local(host: str) -> bool:
    """Tells whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
