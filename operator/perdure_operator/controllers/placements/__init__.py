"""Activities with a pod of their own: a Job for each attempt, and what its pod's end means.

``names`` are deterministic, so that a second Job of an attempt collides with the first;
``templates`` builds the Jobs; ``outcomes`` and ``attempts`` read what became of them; ``views`` is
what a plan is made from, ``planning`` decides, purely, what an attempt needs next, in ``steps``;
``judging`` says it in words.
"""
