"""One request, bytes to bytes."""
