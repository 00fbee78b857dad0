"""``python -m cytodiffusion`` is the command line."""

from cytodiffusion.cli import main

if __name__ == "__main__":
    main()
