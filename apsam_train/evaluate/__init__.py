"""Score anything that implements the Segmenter protocol (paper 5.1-5.3)."""
