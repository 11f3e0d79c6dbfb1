"""Application and network load balancers: registrations, health checks and a data plane on loopback."""
