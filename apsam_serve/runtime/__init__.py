"""Back ends: who runs the graphs of a bundle. A back end is a file of this folder (`base.load`)."""
