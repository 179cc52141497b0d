"""`--forge` and where its token comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from hut_ci.credentials import read_token
from hut_ci.errors import ConfigError, UsageError
from hut_ci.forges.address import parse_address, token_source

TOKEN = "ghs_0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "environ", "api"),
    [
        ("github:acme/firmware", {}, "https://api.github.com"),
        ("github:acme/firmware", {"GITHUB_API_URL": "https://ghe.example/api/v3/"}, "https://ghe.example/api/v3"),
        ("github:acme/.github", {"GITHUB_API_URL": "http://127.0.0.1:8080"}, "http://127.0.0.1:8080"),
        ("gitlab:acme/sub/firmware", {}, "https://gitlab.com/api/v4"),
        ("gitlab:a/b", {"CI_API_V4_URL": "https://gl.example/api/v4"}, "https://gl.example/api/v4"),
        ("gitlab:a/b", {"CI_API_V4_URL": "https://x/api/v4", "GITLAB_API_URL": "https://y/api/v4"}, "https://y/api/v4"),
    ],
)
def test_addresses(text: str, environ: dict[str, str], api: str) -> None:
    address = parse_address(text, environ)
    assert (str(address), address.api) == (text, api)


@pytest.mark.parametrize(
    "text",
    ["", "github", "github:", "github:acme", "github:a/b/c", "github:../x", "github:a/..", "gitlab:acme", "local:",
     "git:a/b", "github:a b/c", "github:a/b?x", "gitlab:a//b", "github:-a/b"],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_address(text, {})
    assert "local:DIR" in refused.value.todo


@pytest.mark.parametrize(
    "url", ["http://ghe.example/api", "ftp://x", "https://user:word@ghe.example", "ghe.example", "https://x/?a=b"]
)
def test_a_token_is_only_sent_over_https(url: str) -> None:
    """CRED-5, security 16."""
    with pytest.raises(UsageError, match="GITHUB_API_URL"):
        parse_address("github:acme/firmware", {"GITHUB_API_URL": url})


def test_tokens_by_forge(tmp_path: Path) -> None:
    github = parse_address("github:acme/firmware", {})
    assert read_token(token_source(github, {}), {"GITHUB_TOKEN": TOKEN}).reveal() == TOKEN
    assert read_token(token_source(github, {}), {"GITHUB_TOKEN": "", "GH_TOKEN": TOKEN}).reveal() == TOKEN
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    file = secret / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    environ = {"GITHUB_TOKEN_FILE": str(file), "GITHUB_TOKEN": "other"}
    assert read_token(token_source(github, environ), environ).reveal() == TOKEN
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="others may read"):
        read_token(token_source(github, environ), environ)


def test_no_token_says_how_to_get_one() -> None:
    """CRED-8: empty counts as missing."""
    gitlab = parse_address("gitlab:acme/firmware", {})
    with pytest.raises(ConfigError, match="GITLAB_TOKEN holds no GitLab token") as refused:
        read_token(token_source(gitlab, {}), {"GITLAB_TOKEN": " "})
    assert "hut-ci doctor --forge gitlab:acme/firmware" in refused.value.todo
