# syntax=docker/dockerfile:1

# Two static binaries, the operator's and the agent's, and nothing else: no shell, no libc, no package to patch.
FROM rust:1.95.0-bookworm AS build
WORKDIR /src
COPY . .
ENV RUSTFLAGS="-C target-feature=+crt-static"
# An explicit target, so that build scripts and macros, which are loaded as libraries, are not linked statically too.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    target="$(rustc -vV | sed -n 's/^host: //p')" \
    && cargo build --locked --profile agent --package longtask-agent --target "$target" \
    && cargo build --locked --release --package longtask --target "$target" \
    && cp "target/$target/agent/longtask-agent" "target/$target/release/longtask" /

FROM scratch
# Not in the root: a task shares a volume with its agent at /longtask.
COPY --from=build /longtask /longtask-agent /bin/
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/bin/longtask"]
CMD ["run"]
