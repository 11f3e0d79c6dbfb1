# The image of the daemon: one static binary, certificate authorities, and nothing else.
#   docker build -t gate:0.1.0 .
# The same binary is the relay's: deploy/README.md takes it out of this image.

FROM rust:1.95.0-slim-bookworm AS builder
WORKDIR /src
COPY . .
# Static, so that the final stage needs no libc and the relay runs on Lambda's older one. Naming the
# target keeps crt-static off proc macros, which cannot be static.
# aws-lc and the bundled SQLite need a C compiler, which this image has; cmake is not needed.
ENV RUSTFLAGS="-C target-feature=+crt-static"
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    target="$(rustc --print host-tuple)" \
    && cargo build --release --locked -p gate --target "$target" \
    && install -D -m 0755 "target/$target/release/gate" /rootfs/gate \
    && install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /rootfs/etc/ssl/certs/ca-certificates.crt \
    && install -D -m 0644 deploy/gate.yaml /rootfs/etc/gate/gate.yaml \
    && install -d -m 0755 /rootfs/etc/gate/policies \
    && install -d -m 0700 /state/gate

FROM scratch
LABEL org.opencontainers.image.title="gate" \
      org.opencontainers.image.description="A health gate for deployments on AWS" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"

COPY --from=builder /rootfs/ /
# The only place gate writes to: the journal. The root file system may be read-only.
COPY --from=builder --chown=65532:65532 /state/ /var/lib/

# The settings file is the lowest layer, so GATE_* and flags win over it. It listens on loopback only:
# deploy/task-definition.json opens the ports, and gate refuses to open 8080 without a key.
ENV GATE_CONFIG=/etc/gate/gate.yaml
# SQLite's temporary files, should it need any, land in the working directory.
WORKDIR /var/lib/gate
VOLUME ["/var/lib/gate"]
USER 65532:65532
# 8080 hooks and pages; 9090 pages, /metrics, /healthz, /readyz.
EXPOSE 8080 9090
STOPSIGNAL SIGTERM

# For Docker and compose. ECS ignores it: there the task definition's own healthCheck counts.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/gate", "health"]

ENTRYPOINT ["/gate"]
CMD ["serve"]
