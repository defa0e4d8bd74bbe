"""What can be compiled for: clusters, executors, catalogue, profiles, cost model, plans, targets."""
