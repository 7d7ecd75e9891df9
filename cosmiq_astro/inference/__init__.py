"""A network over a whole image: tiles, weight draws, and the numbers that come out of them."""
