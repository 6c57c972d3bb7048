"""Train, curate, annotate and evaluate APSAM."""
