"""Clients of the service: generated from its document by programs of the extra `clients`, packed, served."""
