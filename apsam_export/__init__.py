"""Turn a checkpoint into a bundle: three ONNX graphs, a manifest and an accuracy report."""
