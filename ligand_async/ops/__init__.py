"""Keeping a service running: health and logs."""
