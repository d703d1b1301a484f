# docker build -t darkmatter . && docker run -p 127.0.0.1:5002:5002 -v darkmatter:/data darkmatter
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc make libc6-dev \
        libmicrohttpd-dev libcjson-dev libsqlite3-dev zlib1g-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Makefile ./
COPY core core
COPY server server
RUN make -j"$(nproc)" darkmatter && strip -o /darkmatter build/release/darkmatter

FROM ${BASE}
# OpenBLAS is loaded at run time. libopenblas0-pthread is what the tests run with; libopenblas0-serial
# would save 1.5 MB of 43.
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
        libmicrohttpd12 libcjson1 libsqlite3-0 zlib1g libopenblas0-pthread \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log \
 && useradd --system --uid 5002 --user-group --no-create-home --home-dir /data darkmatter \
 && install -d -o darkmatter -g darkmatter /data \
 && mkdir /models
COPY --from=build /darkmatter /usr/bin/darkmatter
COPY static /usr/share/darkmatter/static
COPY migrations /usr/share/darkmatter/migrations
COPY golden /usr/share/darkmatter/golden
COPY demo /usr/share/darkmatter/demo
USER darkmatter
VOLUME /data
EXPOSE 5002
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["darkmatter", "health"]
ENTRYPOINT ["darkmatter"]
CMD ["serve", "--host", "0.0.0.0", "--no-secret", "--db", "/data/darkmatter.db"]
