"""What is asked of the operating system: whole files, signals, silence."""

VERSION = "0.2.0"
"""Version of the package."""
