"""GitLab, gitlab.com or self-managed: pipelines by commit, external statuses, one note."""
