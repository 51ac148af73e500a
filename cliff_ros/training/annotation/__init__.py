"""CLIFF's annotator: pseudo ground truth for images with 2D keypoints, by a network that is taught the whole set."""
