"""The client's side of the model process: requests, their wire format, the process itself."""
