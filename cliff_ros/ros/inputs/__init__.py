"""What comes in: images, calibration and detections, from bytes to a `Frame`."""
