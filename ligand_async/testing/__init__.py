"""The pytest plugin: throw-away databases for the tests of a service."""
