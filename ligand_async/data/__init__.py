"""One service and its database: engines, sessions, models, faults."""
