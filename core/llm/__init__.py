"""A client for servers that speak Chat Completions: requests, retries, prices."""
