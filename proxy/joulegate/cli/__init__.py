"""The command line: how a person starts joulegate, and nothing of how it works."""


def main() -> None:
    """Run the command that the arguments name."""
    from joulegate.cli.root import root

    root(prog_name="joulegate")
