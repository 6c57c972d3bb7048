"""Generated from protos/apsam_serve/v1 by `make proto`; do not edit."""
