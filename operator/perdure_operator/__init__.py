"""The control plane of Perdure: engine, store, server and the Kubernetes operator.

It never runs user code. Of the SDK it knows the protocol, the exceptions and, in the
controllers, the client.
"""
