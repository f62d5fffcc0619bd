"""Generated protobuf and gRPC stubs; `make proto` writes them anew from `proto/`."""
