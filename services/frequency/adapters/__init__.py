"""How frequency reaches out: the wire, gRPC and PostgreSQL."""
