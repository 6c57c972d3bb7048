"""The engine: batcher decides, store accounts, worker executes. It knows no gRPC."""
