"""CVAT interactors: a nuclio function (`main`) and a function for CVAT's agents (`agent`)."""
