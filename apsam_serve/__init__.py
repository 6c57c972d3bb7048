"""Serve an APSAM bundle: contract, runtimes, engine, gRPC service and client. No torch inside."""
