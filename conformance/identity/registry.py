"""The checks there are."""

CHECKS = []


def check(right):
    """Registers a check; `right` is what must come of it."""
    def register(function):
        function.right = right
        CHECKS.append(function)
        return function
    return register
