"""What an access token says, and whether it is to be trusted."""
