"""The gRPC service: translates, maps errors, reports. It knows no device."""
