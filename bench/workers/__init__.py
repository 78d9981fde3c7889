"""What more workers cost, and how evenly they share the load."""
