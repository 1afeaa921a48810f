"""The issuer for a developer's own machine and for tests; nowhere else is there any of it."""
