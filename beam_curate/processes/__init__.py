"""Other processes: a supervisor that ends them with this one, servers, and signals."""
