"""How a character's cases are told, as version 1.1 of the survey does it: some have a title case of their own."""


class UnknownCase(Exception):
    """A character's cases are not as this version knows them."""


def is_pair(code, upper, lower, title):
    """Whether the character is the lower one of a pair of cases. A character that has both is the one between: a title case."""
    return upper != "" and lower == ""
