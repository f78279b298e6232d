"""How a character's cases are told, as version 1.0 of the survey does it."""


class UnknownCase(Exception):
    """A character's cases are not as this version knows them."""


def is_pair(code, upper, lower, title):
    """Whether the character is the lower one of a pair of cases."""
    if title != upper:
        raise UnknownCase(f"U+{code} has the title case {title}, and {upper or 'no other'} as upper case")
    return upper != "" and lower == ""
