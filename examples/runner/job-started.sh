#!/bin/sh
# Put it at /etc/hut-ci/job-started.sh, owned by root, and name it in the .env file of each runner:
#   ACTIONS_RUNNER_HOOK_JOB_STARTED=/etc/hut-ci/job-started.sh
# Nothing of the job's environment is handed on but the four facts that the list is about.
exec /usr/bin/env -i PATH=/usr/bin:/bin LANG=C.UTF-8 \
  GITHUB_REPOSITORY="$GITHUB_REPOSITORY" GITHUB_WORKFLOW_REF="$GITHUB_WORKFLOW_REF" \
  GITHUB_EVENT_NAME="$GITHUB_EVENT_NAME" GITHUB_REF="$GITHUB_REF" \
  /opt/hut-ci/bin/hut-ci runner-hook --lab /etc/hut-ci/lab.yml
