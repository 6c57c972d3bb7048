"""`apsam-client`: ask servers for masks from the command line, one verb per file."""

from apsam_serve.client_cli.main import main

__all__ = ["main"]
