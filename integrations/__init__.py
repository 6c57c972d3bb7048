"""Annotation tools that ask APSAM for masks: one folder each, over `apsam_serve.client`."""
