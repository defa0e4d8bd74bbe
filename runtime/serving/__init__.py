"""Model servers: launched, watched and stopped here, or attached to; and calls to them over HTTP."""
