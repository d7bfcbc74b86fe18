# syntax=docker/dockerfile:1
#
# The image that AWS Batch and ECS run: one binary, the C library it links, CA certificates. No shell, no
# package manager, not root.
#
#   docker build -t sqs-drain .
#
# PROFILE is the cargo profile it is built with: `dist` is what ships, `release` builds quicker, for a check.
# Both base images can be replaced, for a mirror or a hardened base of your own. What they must have is small:
#   BUILDER_IMAGE  cargo, rustc, a C compiler with binutils (aws-lc and mimalloc are C), a POSIX shell
#   RUNTIME_IMAGE  glibc at least as new as the builder's, libgcc_s, /etc/ssl/certs/ca-certificates.crt
# glibc rather than a static musl: the figures in the README were measured with it, and the resolver is the one
# that VPC DNS is tested with everywhere. Time-zone data is compiled into the binary, so tzdata is not needed.
ARG BUILDER_IMAGE=docker.io/library/rust:1.95-slim-trixie
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian13:nonroot

FROM ${BUILDER_IMAGE} AS builder
ARG PROFILE=dist
WORKDIR /build

# Dependencies alone, in a layer that only a change of the manifest or the lock file renews. cargo wants a file for
# every target that the manifest names, so each gets an empty one.
COPY Cargo.toml Cargo.lock ./
RUN set -eu; \
    mkdir -p src; \
    echo 'fn main() {}' > src/main.rs; \
    : > src/lib.rs; \
    sed -n 's/^path *= *"\([^"]*\.rs\)".*/\1/p' Cargo.toml | while read -r target; do \
      mkdir -p "$(dirname "$target")"; \
      [ -e "$target" ] || echo 'fn main() {}' > "$target"; \
    done; \
    cargo build --locked --profile "$PROFILE" --no-default-features --lib --bin sqs-drain; \
    cd "target/$PROFILE"; \
    rm -rf ../../src sqs-drain .fingerprint/sqs-drain-* deps/*sqs_drain*

# The product itself. `--no-default-features` leaves out `local`: no embedded endpoints in the image.
COPY src ./src
RUN cargo build --locked --profile "$PROFILE" --no-default-features --bin sqs-drain \
 && install -D -s -m 0755 "target/$PROFILE/sqs-drain" /out/usr/local/bin/sqs-drain

FROM ${RUNTIME_IMAGE}
ARG VERSION=0.0.0-dev
ARG REVISION=unknown
ARG SOURCE=""
LABEL org.opencontainers.image.title="sqs-drain" \
      org.opencontainers.image.description="Drains an SQS wait queue into its destination queues: only inside permitted hours, never faster than told, resumable after any crash." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
COPY --from=builder /out/ /
# The `nonroot` user of the distroless images, by number, so that a policy that looks for a non-root id sees one.
USER 65532:65532
# Exec form throughout: sqs-drain is process 1 and gets SIGTERM itself. It installs its own handler, so it needs no init.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/sqs-drain"]
CMD ["run"]
