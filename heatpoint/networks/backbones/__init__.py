"""Backbones: images in, feature maps of ascending stride out."""
