"""Users, permissions, SASL mechanisms and password hashes."""
