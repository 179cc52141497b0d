"""GitHub and GitHub Enterprise: builds by commit, commit statuses, check runs, one comment."""
