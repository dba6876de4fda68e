"""The screens: HTML made on the server, a little script of our own, nothing loaded from elsewhere.

Invariants:
- A screen shows what the API would answer to the same key: scopes, masking, audit and limits are its own.
- No inline script or style anywhere, so that the content security policy forbids both.
"""
