"""What one address, and all of them together, may take of the relay."""
