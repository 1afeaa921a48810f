"""What keeps a client from being generated."""


class ClientError(Exception):
    """There is no client: what happened, and what to do."""
