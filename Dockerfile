# The images of docker-compose.yml, one a target (`make images` builds those for users):
#
#     terminals   our processes; the command says which
#     instance    the native instance: what a user gets, unless TERMINALS_IMAGE names another image
#     haproxy     an upstream HAProxy with our configuration
#     instance-debian  the native instance on a Debian with the tools people expect; an alternative to `instance`
#
# The first two are made from scratch: programs, the libraries they load, and nothing else that could need an update or
# help an intruder. (`docker build` without BuildKit builds all stages up to the target, hence their order.)

ARG BASE_IMAGE=debian:bookworm-slim
# Any image with npm: it fetches the two libraries of the admin page and leaves nothing else behind.
ARG NODE_IMAGE=node:22-alpine
# A release with long-term support (3.2: until 2030). 2.6 and later work; anything with a /bin/sh and haproxy on the PATH does.
ARG HAPROXY_IMAGE=haproxy:3.2-alpine

FROM ${NODE_IMAGE} AS modules
WORKDIR /modules
COPY dashboard/package.json dashboard/package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM ${BASE_IMAGE} AS builder
LABEL terminals.stage=builder
WORKDIR /src
COPY scripts/install-deps scripts/
RUN scripts/install-deps image
COPY . .
COPY --from=modules /modules/node_modules build/dashboard/node_modules
RUN touch build/dashboard/node_modules/.package-lock.json && make -s -j"$(nproc)" CFLAGS= all
RUN strip build/release/bin/* && scripts/make-image-roots /image

FROM scratch AS terminals
COPY --from=builder /image/terminals /
ENV PATH=/usr/libexec/terminals TERMINALS_RUN_DIR=/run/terminals
WORKDIR /var/lib/terminals
USER 10001:10001
CMD ["terminals", "help"]

FROM scratch AS instance
# It needs no capability and has no program that would raise its rights: the docker backend gives it none.
LABEL terminals.unprivileged=true
COPY --from=builder /image/instance /
ENV PATH=/usr/local/bin:/usr/bin:/bin HOME=/home/user SHELL=/bin/bash LANG=C.UTF-8
WORKDIR /home/user
USER 1000:1000
EXPOSE 8000
HEALTHCHECK --interval=60s --timeout=5s --start-period=5s CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8000/health"]
ENTRYPOINT ["open-terminal"]
CMD ["run"]

FROM ${HAPROXY_IMAGE} AS haproxy
COPY --from=builder /bin/busybox /usr/local/bin/busybox
COPY haproxy/haproxy.cfg haproxy/start haproxy/check /usr/share/terminals/
ENV TERMINALS_RUN_DIR=/run/terminals
USER 10001:10001
# SIGTERM ends at once what SIGUSR1 (upstream's choice) would wait for: open WebSockets, for a day.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/share/terminals/start"]
CMD []

# As PID 1 the instance buries whatever ends, so it needs no init beside it; nothing in here runs as root, and there is no sudo.
FROM ${BASE_IMAGE} AS instance-debian
COPY scripts/install-deps /tmp/
RUN /tmp/install-deps instance && rm -rf /tmp/install-deps /var/lib/apt/lists/* && \
    ln -s /usr/bin/fdfind /usr/local/bin/fd && useradd --create-home --shell /bin/bash --uid 1000 user
COPY --from=builder /image/instance/usr/bin/open-terminal /usr/bin/open-terminal
ENV HOME=/home/user SHELL=/bin/bash LANG=C.UTF-8
WORKDIR /home/user
USER 1000:1000
EXPOSE 8000
HEALTHCHECK --interval=60s --timeout=5s --start-period=5s CMD ["curl", "-fsS", "-o", "/dev/null", "http://127.0.0.1:8000/health"]
ENTRYPOINT ["open-terminal"]
CMD ["run"]
