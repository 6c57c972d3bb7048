"""A Label Studio ML back end: keypoints and boxes in, brush masks or polygons out."""
