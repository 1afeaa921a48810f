"""A real issuer for tests: node-oidc-provider in a process of its own."""
