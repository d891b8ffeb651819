"""``python -m vitscope``: the same as the program ``vitscope``."""

from vitscope.cli import main

if __name__ == "__main__":
    main()
