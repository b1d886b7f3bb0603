"""Workflows: a run for each, and its state in the status.

``observing`` says what a plan is made from, ``judging`` what is to be said of it, ``reporting``
turns that into a status, ``ending`` is what deletion does, ``rebuilding`` what a lost
store does, ``retrying`` what ``spec.retries`` does, ``planning`` puts it together.
"""
