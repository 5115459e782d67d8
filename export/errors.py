"""The one error that a user of build.py is meant to see."""


class ExportError(Exception):
    """One sentence: what went wrong, where, what was found, what was expected, what to do."""


def shorten(names, count=3):
    """The first few of many names, for a message: 'a, b, c and 4 more'."""
    names = [name if len(name) <= 120 else name[:117] + "..." for name in sorted(names)]
    more = len(names) - count
    return ", ".join(names[:count]) + (f" and {more} more" if more > 0 else "")
