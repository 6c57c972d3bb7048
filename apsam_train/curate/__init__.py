"""From several dirty data sets to one clean one: measure once, filter, split, merge, report."""
