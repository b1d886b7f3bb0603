"""Durable execution for Kubernetes: what user code imports.

Write workflows with :mod:`perdure.workflow`, their side effects with :mod:`perdure.activity`,
run them with :mod:`perdure.worker`, and start, ask and stop them with :mod:`perdure.client`.
The control plane is the sibling package ``perdure_operator``, which this one never imports.
"""

__version__ = "0.1.0"
