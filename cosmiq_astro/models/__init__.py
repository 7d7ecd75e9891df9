"""Networks and the files they live in."""
