"""The Home Assistant token: from the file that lab.yml names, or the lab host's environment."""

from __future__ import annotations

from collections.abc import Mapping

from hut_ci import credentials
from hut_ci.credentials import Source, Token
from hut_ci.errors import ConfigError, PowerError
from hut_ci.model import HomeAssistant


def read_token(server: HomeAssistant, environ: Mapping[str, str]) -> Token:
    """The token that lab.yml points to: `token_file`, or else the variable `token_env` of `environ`.

    Raises PowerError (detail `no_token`) for a file that others may read, an empty one, or none at all.
    """
    source = Source(
        service="Home Assistant",
        file=server.token_file,
        variables=(server.token_env,),
        make="Make a long-lived access token in Home Assistant (your profile, Security) and store it there.",
        risk="Who reads this token can switch everything in the house.",
        key="`token_file` of lab.yml",
    )
    try:
        return credentials.read_token(source, environ)
    except ConfigError as error:
        raise PowerError(error.what, why=error.why, todo=error.todo, fields={"detail": "no_token"}) from error
