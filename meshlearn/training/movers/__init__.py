"""Training of learned movers."""
