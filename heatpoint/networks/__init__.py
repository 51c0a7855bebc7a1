"""Networks: images in, maps out; nothing here knows a label."""
