"""Planning a service: instances, load points and routes for classes of requests."""
