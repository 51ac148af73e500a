"""The demo: camera, node and an independent recorder as processes over DDS; then measured and drawn."""
