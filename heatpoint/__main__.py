"""Runs the command line as ``python -m heatpoint``."""

from heatpoint.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
