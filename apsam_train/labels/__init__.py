"""Category labels: how well a model answers them, what fine ones are worth, which look wrong (paper
3.4 and 9)."""
