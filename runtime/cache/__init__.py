"""What makes a call that was done before, with the same inputs, cost nothing: kept results."""
