"""The W&B account of this machine, and whether its server answers.

Whether there is an account is W&B's own answer: key in the environment, in a netrc file, in W&B's
settings, of whatever server. A server that can't be reached is waited for once a process: from then
on runs are kept offline.
"""

from __future__ import annotations

import http.client
import os
import re
import socket
import urllib.error
import urllib.request
from typing import Any

from rich.console import Console

from circuitwatch.errors import UserError

REACH_TIMEOUT = 10.0
"""Seconds until a server that says nothing counts as not there."""
API_TIMEOUT = 30
"""Seconds that one request of the public API may take."""
DOWN = (500, 502, 503, 504)
"""Answers of a server, or of what stands before it, that is not working."""
REFUSED = re.compile(r"\b401\b|unauthorized|not logged in|authenticat|api key", re.IGNORECASE)
"""What the messages of W&B say where it is the key that is wrong."""


class Unreachable(OSError):
    """No server answers, or it takes no key of ours; the message says why in one line."""


class NotUploaded(Exception):
    """Something of a run did not reach the server; the message says why in one line."""


class NotTaken(NotUploaded):
    """The server answers, but will not have this run as it is: others it may."""


class _Process:
    """What this process has found out: why runs are kept offline from now on, and whether the
    server has answered.
    """

    why_offline = ""
    reached = False


def load_wandb() -> Any:
    """The package, made quiet: what it says at a start we say ourselves, shorter."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    return wandb


def resolve_mode(mode: str) -> str:
    """`online`, `offline` or `off`: what `auto` means here, and `online` after the server could not
    be reached.
    """
    if mode == "auto":
        mode = _by_account()
    return "offline" if mode == "online" and _Process.why_offline else mode


def _by_account() -> str:
    said = os.environ.get("WANDB_MODE")
    if said == "disabled":
        return "off"
    wandb = load_wandb()
    try:
        mode = its_settings().mode
    except UserError as error:
        say(f"{error}; nothing is kept for W&B")
        return "off"
    if mode == "disabled":
        return "off"
    if mode != "online" or said in ("offline", "dryrun"):
        return "offline"
    try:
        return "online" if wandb.login(prompt=False, verify=False) else "offline"
    except Exception as error:  # a key that can't be one
        say(f"{reason_of(error)}; W&B runs are kept offline")
        return "offline"


def server_url() -> str:
    """The server that the account is at."""
    return str(its_settings().base_url).rstrip("/")


def its_settings() -> Any:
    """W&B's settings, of the environment and its files. Raises UserError if they can't be."""
    try:
        return load_wandb().setup().settings
    except Exception as error:  # W&B raises many kinds
        # pydantic says what is wrong below its first line; what was given may be a secret
        lines = [line.partition(" [type=")[0].strip() for line in str(error).splitlines()[:3]]
        why = ": ".join(lines[1:] or lines)
        raise UserError(f"wrong settings of W&B (WANDB_…, or its files): {why}") from error


def reach() -> None:
    """Return if the server answers anything, asked once a process. Raises Unreachable else.

    W&B's own service process retries for a minute where there is none, and a program that started
    it may then hang at its end (0.31).
    """
    if _Process.reached:
        return
    url = server_url()
    try:
        urllib.request.urlopen(url, timeout=REACH_TIMEOUT).close()
    except urllib.error.HTTPError as answer:
        answer.close()
        if answer.code in DOWN:
            raise Unreachable(f"{url} answers with error {answer.code}") from answer
    except urllib.error.URLError as error:
        why = getattr(error.reason, "strerror", None) or error.reason
        raise Unreachable(f"{url} can't be reached: {why}") from error
    except http.client.HTTPException as error:
        raise Unreachable(f"{url} answers, but not as a web server does") from error
    except (OSError, socket.timeout) as error:  # noqa: UP041
        raise Unreachable(f"{url} can't be reached: {error or 'no answer'}") from error
    _Process.reached = True


def stay_offline(why: str) -> None:
    """Keep the runs of this process offline from now on."""
    _Process.why_offline = why


def forget() -> None:
    """Forget what was found out of the server, as a new process would."""
    _Process.why_offline, _Process.reached = "", False


def connect() -> Any:
    """W&B's public API for the account of this machine.

    Raises UserError, in one line and without asking for a key, if there is none or no server.
    """
    forget()
    said = its_settings().mode
    if said != "online" or os.environ.get("WANDB_MODE") in ("disabled", "dryrun"):
        raise UserError(
            f"wandb: W&B is set to {os.environ.get('WANDB_MODE') or said} (WANDB_MODE, or its "
            f"settings); set WANDB_MODE=online"
        )
    if resolve_mode("auto") != "online":
        raise UserError(
            "wandb: no W&B account on this machine; set WANDB_API_KEY, or run `wandb login`"
        )
    try:
        reach()
        return load_wandb().Api(timeout=API_TIMEOUT)
    except Exception as error:  # W&B raises many kinds
        raise UserError(f"wandb: no connection ({reason_of(error)})") from error


def reason_of(error: BaseException) -> str:
    """The first line of an error, without any key that might be in it; of a refused key, what to
    do.
    """
    text = (str(error).strip().splitlines() or [""])[0].strip() or type(error).__name__
    key = os.environ.get("WANDB_API_KEY")
    text = text.replace(key, "…") if key else text
    if not isinstance(error, Unreachable | NotUploaded | UserError) and REFUSED.search(str(error)):
        return f"W&B takes no key of this machine ({text}); run `wandb login`, or set WANDB_API_KEY"
    return text


def say(message: str) -> None:
    """One line on standard error."""
    Console(stderr=True, soft_wrap=True).print(
        f"circuitwatch: {message}", highlight=False, markup=False
    )
