"""`python -m apsam_serve.client_cli`."""

import sys

from apsam_serve.client_cli.main import main

if __name__ == "__main__":
    sys.exit(main())
