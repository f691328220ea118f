"""How alerts reaches out: the wire, columns, gRPC and PostgreSQL."""
