"""What production accepts: images, prompts, masks, APG and the bundle. NumPy and OpenCV only."""
