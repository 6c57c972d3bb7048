"""Device kernels that stand beside the graphs. Empty until a GPU back end needs one.

On the CPU, the contract's NumPy code is the only implementation.
"""
