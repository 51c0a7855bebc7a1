"""Videos, cameras and streams: read frame by frame, searched, drawn on and written."""
