"""The JSON objects of GitLab's REST API (version 4), made from the state. Null is where the live server has null.

Fields and their order are those of the `lib/api/entities` of GitLab's source; fields that only paid tiers or
administrators are shown are left out.
"""

from __future__ import annotations

from typing import Any

from fakes.gitlab_ci import DONE, Job, Pipeline, Runner, Status
from fakes.gitlab_state import Award, Commit, LabelEvent, MergeRequest, Note, Project, Token, User
from fakes.gitlab_time import seconds_between, stamp

Object = dict[str, Any]


def user_basic(user: User, url: str) -> Object:
    return {
        "id": user.id,
        "username": user.username,
        "public_email": "",
        "name": user.username.replace("_", " ").title(),
        "state": "active",
        "locked": False,
        "avatar_url": None,
        "web_url": f"{url}/{user.username}",
    }


def user_public(user: User, url: str) -> Object:
    """What `GET /user` shows the user of a token."""
    return user_basic(user, url) | {
        "created_at": "2026-01-02T03:04:05.678Z",
        "bio": "",
        "location": "",
        "linkedin": "",
        "twitter": "",
        "discord": "",
        "website_url": "",
        "github": "",
        "job_title": "",
        "pronouns": None,
        "organization": "",
        "bot": user.bot,
        "work_information": None,
        "local_time": None,
        "last_sign_in_at": None,
        "confirmed_at": "2026-01-02T03:04:05.678Z",
        "last_activity_on": None,
        "email": f"{user.username}@example.com",
        "theme_id": 3,
        "color_scheme_id": 1,
        "projects_limit": 0 if user.bot else 100000,
        "current_sign_in_at": None,
        "identities": [],
        "can_create_group": not user.bot,
        "can_create_project": not user.bot,
        "two_factor_enabled": False,
        "external": user.bot,
        "private_profile": False,
        "commit_email": f"{user.username}@example.com",
    }


def own_token(token: Token) -> Object:
    return {
        "id": token.id,
        "name": token.user.username,
        "revoked": token.revoked,
        "created_at": token.created,
        "description": None,
        "scopes": token.scopes,
        "user_id": token.user.id,
        "last_used_at": stamp(),
        "active": not (token.revoked or token.expired),
        "expires_at": token.expires_at,
        "last_used_ips": ["127.0.0.1"],
        "granular": False,
    }


def project(it: Project, url: str, access_level: int) -> Object:
    namespace, _, name = it.path.rpartition("/")
    access = {"access_level": access_level, "notification_level": 3} if access_level else None
    return {
        "id": it.id,
        "description": None,
        "name": name,
        "name_with_namespace": it.path.replace("/", " / "),
        "path": name,
        "path_with_namespace": it.path,
        "created_at": it.created,
        "default_branch": it.default_branch,
        "topics": [],
        "http_url_to_repo": f"{url}/{it.path}.git",
        "web_url": f"{url}/{it.path}",
        "namespace": {"id": it.id, "name": namespace, "path": namespace, "kind": "group", "full_path": namespace},
        "visibility": it.visibility,
        "public_jobs": it.public_jobs,
        "archived": False,
        "merge_requests_enabled": True,
        "jobs_enabled": True,
        "keep_latest_artifact": True,
        "restrict_user_defined_variables": it.variables_role != "developer",
        "ci_pipeline_variables_minimum_override_role": it.variables_role,
        "permissions": {"project_access": access, "group_access": None},
        **({"forked_from_project": {"id": it.forked_from}} if it.forked_from else {}),
    }


def commit(it: Commit, of: Project, url: str) -> Object:
    return {
        "id": it.sha,
        "short_id": it.sha[:8],
        "created_at": it.created,
        "parent_ids": it.parents,
        "title": it.message.partition("\n")[0],
        "message": it.message,
        "author_name": "Alice",
        "author_email": "alice@example.com",
        "authored_date": it.created,
        "committer_name": "Alice",
        "committer_email": "alice@example.com",
        "committed_date": it.created,
        "trailers": {},
        "extended_trailers": {},
        "web_url": f"{url}/{of.path}/-/commit/{it.sha}",
    }


def commit_detail(it: Commit, of: Project, url: str) -> Object:
    latest = max((line for line in of.pipelines if line.sha == it.sha), key=lambda line: line.id, default=None)
    return commit(it, of, url) | {
        "stats": {"additions": 1, "deletions": 0, "total": 1},
        "status": latest.status if latest else None,
        "project_id": of.id,
        "last_pipeline": pipeline_basic(latest, url) if latest else None,
    }


# --- CI -----------------------------------------------------------------------------------------------------


def pipeline_basic(it: Pipeline, url: str) -> Object:
    return {
        "id": it.id,
        "iid": it.iid,
        "project_id": it.project_id,
        "sha": it.sha,
        "ref": it.ref,
        "status": it.status,
        "source": it.source,
        "created_at": it.created,
        "updated_at": it.updated,
        "web_url": f"{url}/{it.project.path}/-/pipelines/{it.id}",
    }


def pipeline_in_list(it: Pipeline, url: str) -> Object:
    return pipeline_basic(it, url) | {"name": it.name}


def pipeline(it: Pipeline, url: str) -> Object:
    duration = seconds_between(it.started, it.finished)
    return pipeline_basic(it, url) | {
        "before_sha": "0" * 40,
        "tag": it.tag,
        "yaml_errors": it.yaml_errors,
        "user": user_basic(it.user, url),
        "started_at": it.started,
        "finished_at": it.finished,
        "committed_at": None,
        "duration": None if duration is None else int(duration),
        "queued_duration": None if it.started is None else int(seconds_between(it.created, it.started) or 0),
        "coverage": None,
        "detailed_status": _detailed_status(it),
        "archived": False,
    }


def pipeline_with_metadata(it: Pipeline, url: str) -> Object:
    return pipeline(it, url) | {"name": it.name}


def _detailed_status(it: Pipeline) -> Object:
    label = {"success": "passed"}.get(it.status, it.status)
    return {
        "icon": f"status_{it.status}",
        "text": label.capitalize(),
        "label": label,
        "group": it.status,
        "tooltip": label,
        "has_details": True,
        "details_path": f"/{it.project.path}/-/pipelines/{it.id}",
        "illustration": None,
        "favicon": f"/assets/ci_favicons/favicon_status_{it.status}.png",
    }


def job(it: Job, url: str) -> Object:
    """A job. `artifacts_file` is missing, not null, without an archive or once its expiry has passed."""
    of = it.pipeline.project
    known = of.commits[it.pipeline.sha]
    entity: Object = {
        "id": it.id,
        "status": it.status,
        "stage": it.stage,
        "name": it.name,
        "ref": it.pipeline.ref,
        "tag": it.pipeline.tag,
        "coverage": None,
        "allow_failure": it.allow_failure,
        "created_at": it.created,
        "started_at": it.started,
        "finished_at": it.finished,
        "erased_at": None,
        "duration": seconds_between(it.started, it.finished),
        "queued_duration": seconds_between(it.created, it.started),
        "user": user_basic(it.pipeline.user, url) | {"created_at": "2026-01-02T03:04:05.678Z", "bio": "", "bot": False},
        "commit": commit(known, of, url),
        "pipeline": pipeline_basic(it.pipeline, url),
        "web_url": f"{url}/{of.path}/-/jobs/{it.id}",
        "project": {"ci_job_token_scope_enabled": False},
        "artifacts": job_artifacts(it),
        "runner": runner(it.runner, url) if it.runner else None,
        "runner_manager": None,
        "artifacts_expire_at": stamp(it.artifacts_expire_at) if it.artifacts_expire_at else None,
        "archived": False,
        "tag_list": sorted(it.tags),
    }
    if it.status == "failed":
        entity["failure_reason"] = it.failure_reason or "script_failure"
    if it.artifacts is not None and not it.expired:
        entity["artifacts_file"] = {"filename": it.artifacts_filename, "size": len(it.artifacts)}
    return entity


def job_artifacts(it: Job) -> list[Object]:
    """The archive with its metadata file, if it was not deleted; and the log of a job that has ended."""
    found: list[Object] = []
    if it.archive is not None:
        archive = {"file_type": "archive", "size": len(it.archive), "filename": it.artifacts_filename}
        found.append(archive | {"file_format": "zip"})
        found.append({"file_type": "metadata", "size": 149, "filename": "metadata.gz", "file_format": "gzip"})
    if it.status in DONE and it.started is not None:
        found.append({"file_type": "trace", "size": 1024, "filename": "job.log", "file_format": None})
    return found


def runner(it: Runner, url: str) -> Object:
    return {
        "id": it.id,
        "description": it.description,
        "ip_address": None,
        "active": not it.paused,
        "paused": it.paused,
        "is_shared": it.type == "instance_type",
        "runner_type": it.type,
        "name": "gitlab-runner",
        "online": it.status == "online",
        "created_by": None,
        "created_at": it.created,
        "status": it.status,
        "job_execution_status": "active" if it.busy else "idle",
    }


def commit_status(it: Status | Job, url: str) -> Object:
    """An external status, or a job: the list of a commit's statuses has both."""
    more = _of_external(it, url) if isinstance(it, Status) else _of_job(it, url)
    return {
        "id": it.id,
        "sha": it.pipeline.sha,
        "status": it.status,
        "name": it.name,
        "created_at": it.created,
        "started_at": it.started,
        "finished_at": it.finished,
        "pipeline_id": it.pipeline.id,
    } | more


def _of_external(it: Status, url: str) -> Object:
    return {
        "ref": it.ref,
        "target_url": it.target_url,
        "description": it.description,
        "allow_failure": False,
        "coverage": it.coverage,
        "author": user_basic(it.author, url),
    }


def _of_job(it: Job, url: str) -> Object:
    return {
        "ref": it.pipeline.ref,
        "target_url": None,
        "description": None,
        "allow_failure": it.allow_failure,
        "coverage": None,
        "author": user_basic(it.pipeline.user, url),
    }


# --- merge requests -----------------------------------------------------------------------------------------


def merge_request_basic(it: MergeRequest, url: str) -> Object:
    path = it.project.path
    fork = it.source_project_id != it.project.id
    return {
        "id": it.id,
        "iid": it.iid,
        "project_id": it.project.id,
        "title": it.title,
        "description": it.description,
        "state": it.state,
        "created_at": it.created,
        "updated_at": it.updated,
        "merged_by": None,
        "merge_user": None,
        "merged_at": None,
        "closed_by": None,
        "closed_at": None,
        "target_branch": it.target_branch,
        "source_branch": it.source_branch,
        "user_notes_count": len([note for note in it.notes if not note.system]),
        "upvotes": 0,
        "downvotes": 0,
        "author": user_basic(it.author, url),
        "assignees": [],
        "assignee": None,
        "reviewers": [],
        "source_project_id": it.source_project_id,
        "target_project_id": it.project.id,
        "labels": sorted(it.labels),
        "draft": it.title.startswith("Draft:"),
        "imported": False,
        "imported_from": "none",
        "work_in_progress": it.title.startswith("Draft:"),
        "milestone": None,
        "merge_when_pipeline_succeeds": False,
        "merge_status": "can_be_merged",
        "detailed_merge_status": "mergeable",
        "merge_after": None,
        "sha": it.sha,
        "merge_commit_sha": it.merge_commit_sha,
        "squash_commit_sha": None,
        "discussion_locked": None,
        "should_remove_source_branch": None,
        "force_remove_source_branch": True,
        "prepared_at": it.created,
        **({"allow_collaboration": False, "allow_maintainer_to_push": False} if fork else {}),
        "reference": f"!{it.iid}",
        "references": {"short": f"!{it.iid}", "relative": f"!{it.iid}", "full": f"{path}!{it.iid}"},
        "web_url": f"{url}/{path}/-/merge_requests/{it.iid}",
        "time_stats": _no_time_spent(),
        "squash": False,
        "squash_on_merge": False,
        "task_completion_status": {"count": 0, "completed_count": 0},
        "has_conflicts": False,
        "blocking_discussions_resolved": True,
    }


def _no_time_spent() -> Object:
    return {"time_estimate": 0, "total_time_spent": 0, "human_time_estimate": None, "human_total_time_spent": None}


def merge_request(it: MergeRequest, url: str, *, can_merge: bool) -> Object:
    head = it.head_pipeline
    return merge_request_basic(it, url) | {
        "subscribed": False,
        "changes_count": "1",
        "latest_build_started_at": head.started if head else None,
        "latest_build_finished_at": head.finished if head else None,
        "first_deployed_to_production_at": None,
        "pipeline": pipeline_basic(head, url) if head else None,
        "head_pipeline": pipeline(head, url) if head else None,
        "diff_refs": {"base_sha": it.sha, "head_sha": it.sha, "start_sha": it.sha},
        "merge_error": None,
        "first_contribution": False,
        "user": {"can_merge": can_merge},
    }


def note(it: Note, of: MergeRequest, url: str) -> Object:
    return {
        "id": it.id,
        "type": None,
        "body": it.body,
        "author": user_basic(it.author, url),
        "created_at": it.created,
        "updated_at": it.updated,
        "system": it.system,
        "noteable_id": of.id,
        "noteable_type": "MergeRequest",
        "project_id": of.project.id,
        "resolvable": False,
        "confidential": it.internal,
        "internal": it.internal,
        "imported": False,
        "imported_from": "none",
        "noteable_iid": of.iid,
        "commands_changes": {},
    }


def award(it: Award, of: Note, url: str) -> Object:
    return {
        "id": it.id,
        "name": it.name,
        "user": user_basic(it.user, url),
        "created_at": it.created,
        "updated_at": it.created,
        "awardable_id": of.id,
        "awardable_type": "Note",
        "url": None,
    }


def label_event(it: LabelEvent, of: MergeRequest, url: str) -> Object:
    label = {"id": 1, "name": it.label, "color": "#0033CC", "description": None} if it.label else None
    return {
        "id": it.id,
        "user": user_basic(it.user, url) if it.user else None,
        "created_at": it.created,
        "resource_type": "MergeRequest",
        "resource_id": of.id,
        "label": label,
        "action": it.action,
    }


def member(user: User, access_level: int, url: str) -> Object:
    return user_basic(user, url) | {
        "access_level": access_level,
        "created_at": "2026-01-02T03:04:05.678Z",
        "expires_at": None,
        "membership_state": "active",
    }
