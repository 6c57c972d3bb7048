"""KServe's v2 protocol over the same engine, for clients that others wrote."""
