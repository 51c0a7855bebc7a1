"""Layers that PyTorch lacks: pure functions of tensors."""
