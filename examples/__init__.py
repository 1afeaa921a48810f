"""Services to read and to start from."""
