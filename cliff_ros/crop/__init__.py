"""From a box to what the network sees: views, and the pixels in them."""
