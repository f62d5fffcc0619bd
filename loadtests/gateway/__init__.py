"""What one request costs the gateway's own process; see `loadtests.bench_gateway`."""
