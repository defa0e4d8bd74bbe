"""What can be compiled for: clusters, executors, catalogue, profiles, costs, plans, targets."""
