"""An invoicing service for several tenants: customers, invoices with lines and tags, exports and live updates."""
