"""A small service that calls the invoicing service by the client generated from its document."""
