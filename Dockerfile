# syntax=docker/dockerfile:1

# ---- build: SQL is checked against the committed .sqlx/, so no database is needed ----
FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY . .
RUN cargo build --release --locked --bin rouse

# ---- run: the binary and root certificates; give it a database with ROUSE_DATABASE__URL ----
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin rouse
COPY --from=build /build/target/release/rouse /usr/local/bin/rouse
USER rouse
ENTRYPOINT ["rouse"]
CMD ["serve"]
