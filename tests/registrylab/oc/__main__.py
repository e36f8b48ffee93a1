"""The program."""

import sys

from registrylab.oc import logins, objects, pods  # noqa: F401 - they register their commands
from registrylab.oc.api import Failure, refuse
from registrylab.oc.session import COMMANDS, GLOBAL, Session


def main(argv: list[str]) -> int:
    """Run one command; its exit code."""
    at = argv.index("--") if "--" in argv else len(argv)
    try:
        given, words = GLOBAL.parse_known_args(argv[:at])
        size = next((size for size in (2, 1) if " ".join(words[:size]) in COMMANDS), 0)
        if not size:
            raise refuse(f'unknown command "{" ".join(words[:2])}" for "oc"')
        act, parser = COMMANDS[" ".join(words[:size])]
        args = parser.read(words[size:])
        args.after = argv[at + 1 :]
        if args.after and not parser.takes_more:
            raise refuse("nothing may follow --")
        return act(Session(given), args) or 0
    except Failure as failure:
        sys.stderr.write(f"{failure}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
