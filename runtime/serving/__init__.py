"""Model servers, launched and watched here or attached to, and calls to them over HTTP."""
