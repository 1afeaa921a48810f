"""Clients: generated from the petstore and others, compiled, run against a served petstore."""
