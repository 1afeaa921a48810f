"""The reference service: a petstore."""
