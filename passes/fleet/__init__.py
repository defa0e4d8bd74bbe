"""Studies: days of several services, planned epoch by epoch by a policy."""
