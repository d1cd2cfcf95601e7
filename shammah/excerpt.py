"""The beginning of a text, for a title, a line of a list, or the reason in an error."""


def excerpt(text: str, width: int = 60) -> str:
    """Its first words on one line of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 3].rstrip() + "..."
