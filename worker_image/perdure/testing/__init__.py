"""What tests of workflow and activity code are written with."""

from perdure.testing._activity import ActivityEnvironment

__all__ = ["ActivityEnvironment"]
