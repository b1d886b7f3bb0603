"""Where runs are kept: a port of few methods, and its adapters.

``port`` is what the server knows; ``sqlite`` the default; ``memory`` the one for tests, held to
the same contract suite as the others.
"""
