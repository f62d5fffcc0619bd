"""The two doors: gRPC and REST over one Service, and the pure codecs between wire and values."""
