"""Exchange types, bindings, the walk from exchange to exchange, and the route cache."""
