"""A page to annotate in: a small web server that is itself a client of the gRPC API."""
