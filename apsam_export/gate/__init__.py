"""The gate: every build is held to the checkpoint, or, without it, to the FP32 build."""
