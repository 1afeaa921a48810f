"""For the tests of a service: the pytest plugin with its throw-away databases, and access tokens."""
