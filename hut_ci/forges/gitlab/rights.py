"""The rights of a token, as it tells them of itself: its scopes, and its user's role in the project."""

from __future__ import annotations

from gitlab.exceptions import GitlabHttpError

from hut_ci.errors import ConfigError
from hut_ci.forges.fields import as_number, as_text
from hut_ci.forges.gitlab.api import GitLabApi
from hut_ci.forges.gitlab.runners import LISTING
from hut_ci.forges.rights import Right

REPORTER, DEVELOPER = 20, 30  # access levels (docs: "Members API")


def rights(api: GitLabApi) -> list[Right]:
    """What `hut-ci run` and `hut-ci report` need. Raises ConfigError where GitLab does not know token or project."""
    with api.asking(ConfigError, "look at the token", "the scope `api` or `read_api`"):
        token = api.get("/personal_access_tokens/self")
        scopes = {as_text(scope) for scope in token["scopes"]}
        user = as_number(token["user_id"])
        level = as_number(api.get(f"members/all/{user}")["access_level"])
        restricted = api.get("").get("restrict_user_defined_variables")
    until = token.get("expires_at")
    return [
        Right("the token is active", f"everything{f' (until {until})' if until else ''}", bool(token.get("active"))),
        Right(
            "scope api or read_api",
            "finding and downloading artifacts, reading hut.yml",
            bool(scopes & {"api", "read_api"}),
            remedy="make a project access token with the scope `api`",
        ),
        Right(
            "scope api",
            "commit statuses, notes on merge requests",
            "api" in scopes,
            remedy="make a project access token with the scope `api`",
        ),
        Right("role Reporter", "reading builds", level >= REPORTER, remedy="raise the token's role in the project"),
        Right("role Developer", "commit statuses", level >= DEVELOPER, remedy="raise the token's role in the project"),
        Right(
            "not everybody gives variables to pipelines",
            "notes and labels by a webhook: such variables win over a job's own",
            restricted if isinstance(restricted, bool) else None,
            optional=True,
            remedy="Settings, CI/CD, Variables, minimum role to use pipeline variables: no one",
        ),
    ]


def runners_right(api: GitLabApi) -> Right:
    """Of the token that is for the list of runners alone."""
    held = True
    with api.asking(ConfigError, "list the runners", LISTING):
        try:
            api.get("runners", per_page=1)
        except GitlabHttpError as error:
            if error.response_code not in (403, 404):
                raise
            held = False
    return Right("list of runners", "seeing that a slot's runner is away", held, remedy=f"a token with {LISTING}")
