# The builder makes one static binary; the image holds it with what a runner needs and nothing else.
FROM rust:1.95-slim-bookworm AS build

# `sh` and `tail` are what self-hosted Kubernetes runners start an action's container with.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends busybox-static ca-certificates \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /build
ENV RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=/build=. --remap-path-prefix=/usr/local/cargo=cargo"

# The dependencies change seldom: they are a layer of their own.
COPY Cargo.toml Cargo.lock ./
COPY tests/testbed/Cargo.toml tests/testbed/Cargo.toml
RUN mkdir -p src tests/testbed/src tests/integration examples \
 && echo 'fn main() {}' | tee src/main.rs examples/quickstart.rs tests/integration/main.rs \
 && touch src/lib.rs tests/testbed/src/lib.rs \
 && cargo build --release --locked --bin tidegate --target "$(rustc -vV | sed -n 's/^host: //p')"

COPY . .
RUN touch src/main.rs src/lib.rs \
 && cargo build --release --locked --bin tidegate --target "$(rustc -vV | sed -n 's/^host: //p')" \
 && mkdir -p /image/bin /image/etc/ssl/certs /image/tmp \
 && chmod 1777 /image/tmp \
 && cp target/*/release/tidegate /image/tidegate \
 && ln -s tidegate /image/tidegate-finalise \
 && cp "$(command -v busybox)" /image/bin/busybox \
 && ln -s busybox /image/bin/sh \
 && ln -s busybox /image/bin/tail \
 && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt \
 && echo 'root:x:0:0:root:/github/home:/bin/sh' > /image/etc/passwd

FROM scratch
LABEL org.opencontainers.image.title="Tidegate" \
      org.opencontainers.image.description="Promotes a tested container image from one environment to the next, and takes it back when it does not live" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image /
ENV PATH=/bin SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
# Root, because the runner's files can be written by root alone.
ENTRYPOINT ["/tidegate"]
