"""Run the command line with ``python -m joulegate``."""

from joulegate.cli import main

if __name__ == "__main__":
    main()
