"""Lists in pages: by cursor or by number."""
