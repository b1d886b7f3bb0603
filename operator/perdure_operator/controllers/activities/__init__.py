"""Activities: one side effect each, run on a pool's workers without a workflow around it.

An activity is a run of its own kind at the server, so it goes the way a Workflow goes, and
shorter: nothing is told to it but to stop.
"""
