"""Device kernels that stand beside the graphs: points, the choice of a mask, mask bits.

`source` is CUDA C++, one definition for every GPU; a bundle carries it compiled. On the CPU, the
contract's NumPy code is the only implementation, and what the kernels are held to.
"""
