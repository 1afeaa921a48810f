"""Calling other services."""
