"""``python -m secure_queue`` is the command line."""

from secure_queue.cli import main

if __name__ == "__main__":
    main()
