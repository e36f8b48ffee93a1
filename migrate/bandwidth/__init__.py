"""A cap on bytes a second: a forwarding proxy on 127.0.0.1 through which skopeo and our own requests go.

What comes from the registries has one budget, what goes to them another. All connections share them, chunk by chunk in
the order of asking. Counted is what passes on the far side of the proxy, heads of requests and answers included. It
reads a chunk only when it has passed on the one before, so whoever sends has to wait. The proxies that the user's
environment names stay in force behind it.

It is asyncio in a thread of its own (serving.py, loaded where a cap was asked for); only who knows the token in its
address may use it.
"""
