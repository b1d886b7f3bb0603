"""The operator: custom resources become runs and worker Jobs, and their state becomes a status.

A kopf handler only notes that an object is to be looked at (:mod:`.intake`); the work queue
(:mod:`.workqueue`) merges such notes, spaces them and repeats what failed; a reconcile then
observes, plans and applies (:mod:`.reconciling`). Everything is level-based: a plan follows from
what there is now, never from what the event was, so an event that is lost or comes twice does no
harm.

``workflows``, ``activities`` and ``pools`` have one reconcile each; in every one of them
``planning`` is pure.
"""
