"""Tests of the document and the page."""
