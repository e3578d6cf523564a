# The image of shifter: one static-enough binary on a base without a shell, as a user without rights.
#
#   docker build -t shifter .
#   docker run -d --name shifter --network web -p 80:8080 \
#     -v ./shifter.toml:/etc/shifter/shifter.toml:ro -v shifter-state:/var/lib/shifter \
#     -v /var/run:/host/run --group-add "$(stat -c %g /var/run/docker.sock)" \
#     -e DOCKER_HOST=unix:///host/run/docker.sock shifter
#
# The folder of the socket is mounted, not the socket: after the engine's restart it is another file.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --features acme --bin shifter && mkdir /state

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/shifter /usr/bin/shifter
# The folder's owner is the user who runs shifter; a fresh volume takes it over.
COPY --from=build --chown=65532:65532 /state /var/lib/shifter
ENV SHIFTER_CONFIG=/etc/shifter/shifter.toml
EXPOSE 8080
VOLUME /var/lib/shifter
HEALTHCHECK --interval=5s --timeout=2s --start-period=5s CMD ["/usr/bin/shifter", "status"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/shifter"]
CMD ["serve"]
