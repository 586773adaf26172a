# The builder makes one static binary; the image holds it with the few programs that it and runners call, and nothing else.
FROM rust:1.95-slim-bookworm AS build

RUN apt-get update \
 && apt-get install --yes --no-install-recommends busybox-static ca-certificates openssh-client \
 && rm -rf /var/lib/apt/lists/*

# OpenSSH's client is what is not static: the driver `compose` and the gate `resources` call it.
RUN mkdir -p /image/bin /image/licenses \
 && for program in ssh ssh-keygen ssh-keyscan; do \
      cp "/usr/bin/$program" /image/bin/ && ldd "/usr/bin/$program" || exit 1; \
    done | grep --only-matching '/[^ ]*' | sort --unique > /libraries \
 && xargs cp --dereference --parents --target-directory /image < /libraries \
 && sed 's|.*/|*/|' /libraries | xargs dpkg-query --search | cut --delimiter : --fields 1 | sort --unique > /packages \
 && for package in openssh-client $(cat /packages); do \
      cp "/usr/share/doc/$package/copyright" "/image/licenses/$package" || exit 1; \
    done

WORKDIR /build
# The target is named so that these flags are not for build scripts and macros, which cannot be static.
ENV RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=/build=. --remap-path-prefix=/usr/local/cargo=cargo"

# The dependencies change seldom: they are a layer of their own.
COPY Cargo.toml Cargo.lock ./
COPY tests/testbed/Cargo.toml tests/testbed/Cargo.toml
COPY tests/workflow/Cargo.toml tests/workflow/Cargo.toml
RUN mkdir -p src tests/testbed/src tests/workflow/src \
 && echo 'fn main() {}' > src/main.rs \
 && touch src/lib.rs tests/testbed/src/lib.rs tests/workflow/src/lib.rs \
 && cargo build --release --locked --bin tidegate --target "$(rustc -vV | sed -n 's/^host: //p')"

COPY . .
# Cargo goes by times, and the sources are older than what was built from the stand-ins.
RUN touch src/main.rs src/lib.rs \
 && cargo build --release --locked --bin tidegate --target "$(rustc -vV | sed -n 's/^host: //p')" \
 && mkdir -p /image/etc/ssl/certs \
 && install -d -m 1777 /image/tmp \
 && cp target/*/release/tidegate /image/tidegate \
 && ln -s tidegate /image/tidegate-finalise \
 && cp "$(command -v busybox)" /image/bin/busybox \
 # What the runner's container hooks for Kubernetes call inside an action's container.
 && for applet in chmod env find mv rm sh stat tail tar; do ln -s busybox "/image/bin/$applet"; done \
 && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt \
 && echo 'root:x:0:0:root:/github/home:/bin/sh' > /image/etc/passwd \
 && cp LICENSE /image/licenses/tidegate \
 && cp /usr/share/doc/busybox-static/copyright /image/licenses/busybox \
 && cp /usr/share/doc/ca-certificates/copyright /image/licenses/ca-certificates

FROM scratch
LABEL org.opencontainers.image.title="Tidegate" \
      org.opencontainers.image.description="Promotes a tested container image from one environment to the next, and takes it back when it does not live" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image /
ENV PATH=/bin SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
# As root: nobody else can write the runner's files.
ENTRYPOINT ["/tidegate"]
