"""The runtime graph: made, simplified, read."""
