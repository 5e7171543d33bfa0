# syntax=docker/dockerfile:1

# ---- build: SQL is checked against the committed .sqlx/, so no database is needed ----
FROM rust:1.95.0-bookworm AS build
WORKDIR /build
# The same inputs give the same binary: fixed path, locked dependencies, no date from the clock, no debug information.
ENV CARGO_INCREMENTAL=0 \
    CARGO_PROFILE_RELEASE_STRIP=debuginfo \
    SOURCE_DATE_EPOCH=0

# The dependencies first, with an empty program: this layer is built again only when they change.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
RUN mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --bin rouse \
    && cargo clean --release --locked --package rouse \
    && rm -r src

COPY . .
RUN cargo build --release --locked --bin rouse

# ---- run: the binary and root certificates. Nothing runs here, so nothing depends on the day it is built ----
FROM debian:12.11-slim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /build/target/release/rouse /usr/local/bin/rouse
# A number, so that a platform can see that it is not root. Rouse writes no files here: the data is in the database.
USER 10001:10001
ENV ROUSE_SERVER__LISTEN=0.0.0.0:8080
EXPOSE 8080
STOPSIGNAL SIGTERM
# Liveness only: a restart does not cure a database that is away, which is what /readyz would tell.
# There is no curl here; bash speaks enough HTTP. The port is what ROUSE_SERVER__LISTEN says.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/${ROUSE_SERVER__LISTEN##*:} && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r line <&3 && [[ $line == *' 200 '* ]]"]
ENTRYPOINT ["rouse"]
CMD ["serve"]
