"""Plans of TensorRT and TensorRT-RTX, compiled from typed graphs."""
