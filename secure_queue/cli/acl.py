"""``secure-queue acl``: the rules by which a server lets each role do its work, and nothing else."""

from __future__ import annotations

from typing import Annotated

import typer

from secure_queue.cli.output import hint, say, say_json
from secure_queue.cli.target import Target, load_target
from secure_queue.redis.roles import Dialect, Role


def acl(
    target: Target,
    role: Annotated[list[Role] | None, typer.Option(help="Only this role; may be repeated.")] = None,
    server: Annotated[
        Dialect, typer.Option(help="Rules for Redis 6.2, for 7.0, or for 7.2 and later and Valkey.")
    ] = Dialect.REDIS_7_2,
    prefix: Annotated[str, typer.Option(metavar="WORD", help="What the names of the users begin with.")] = "sq_",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print the ACL SETUSER lines of producer, worker, auditor, dashboard and operator for the queue of TARGET.

    Nothing is sent to the server. Put the SHA-256 of each user's password where the line says so.
    """
    worker = load_target(target)
    lines = {
        each.value: f"ACL SETUSER {worker.access_rule(each, user=f'{prefix}{each.value}', dialect=server)}"
        for each in role or Role
    }
    if json:
        say_json(lines)
        return
    for line in lines.values():
        say(line)
    hint("put in the digests of long random passwords (printf %s PASSWORD | sha256sum), send the lines with redis-cli,")
    hint("and when every process logs in with a user of its own: ACL SETUSER default off resetpass")
    hint(
        "in an ACL file: user default off resetpass ~* &* +@all (Redis 7.0 reads its append-only file under that name)"
    )
    if not server.has_selectors:
        hint("Redis 6.2 cannot say `append only`: there a worker may also cut the audit log")
