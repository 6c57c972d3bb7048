"""The paper's ablations (Tables 4 and 5) as one command."""
