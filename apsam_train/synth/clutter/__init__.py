"""What else is in a bag: shells, soft layers and everyday things, none of it contraband."""
