"""Model-assisted masks in rounds (paper 3.2): propose, let people correct, collect, train."""
