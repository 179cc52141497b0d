"""What a lab host needs, looked at and not changed: one file per subject, each gives a list of findings."""
