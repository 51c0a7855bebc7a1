"""What is asked of the operating system: whole files, signals, silence."""
