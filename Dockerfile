# syntax=docker/dockerfile:1.10

# The program alone, linked statically (musl), on an empty image: no shell, no package manager, nothing to keep up to date
# but the program itself. The built-in broker, which is for trying things out, is left out; so `demo` and `broker` are.
#
#   docker build -t alluvium:0.1.0 .
#   docker run --rm --read-only alluvium:0.1.0 --help

FROM rust:1.95.0-alpine3.22 AS build
# The C compiler is for zstd, lz4, mimalloc and ring, which bring their own sources.
# hadolint ignore=DL3018
RUN apk add --no-cache build-base ca-certificates
WORKDIR /src
ENV CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0

# The libraries first, with an empty program: this layer stays until a manifest changes. Cargo wants each program to be there
# that the manifest names.
COPY Cargo.toml Cargo.lock ./
RUN programs=$(sed -n -e 's|^path = "\(.*\)"|\1|p' -e '/^\[\[bench\]\]/{n;s|^name = "\(.*\)"|benches/\1.rs|p;}' Cargo.toml) \
    && for program in $programs; do mkdir -p "$(dirname "$program")" && echo 'fn main() {}' > "$program"; done \
    && : > src/lib.rs \
    && cargo build --locked --profile image --no-default-features --features flex --bin alluvium

COPY . .
# The stubs may be younger than the sources that replace them.
RUN touch src/lib.rs src/main.rs \
    && cargo build --locked --profile image --no-default-features --features flex --bin alluvium \
    && echo 'alluvium:x:65532:65532:alluvium:/nonexistent:/sbin/nologin' > /passwd \
    && mkdir /empty

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="alluvium" \
    org.opencontainers.image.description="Reads a Kafka-compatible broker, scores every record and lands Parquet, each record exactly once" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
COPY --from=build /passwd /etc/passwd
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# For a training that is larger than memory, and for tables on their way to S3; mount something there with --read-only.
COPY --from=build --chown=65532:65532 /empty /tmp
COPY --from=build /src/LICENSE /LICENSE
COPY --from=build /src/target/image/alluvium /usr/bin/alluvium
USER 65532:65532
# A lake, a table or a model with a relative path is below here.
WORKDIR /work
# What is in hand is committed at the first; `stop_timeout` (30 s) says how long that may take.
STOPSIGNAL SIGTERM
EXPOSE 9184
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/bin/alluvium", "health"]
ENTRYPOINT ["/usr/bin/alluvium"]
CMD ["--help"]
