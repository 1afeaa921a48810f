# The petstore under `ligand serve`. Settings come from the environment at run time: it starts as `prod`, which says what it
# still needs. Migrations: docker run … IMAGE ligand --app examples.petstore.app:create_app db upgrade
# With `docker build --build-arg CLIENTS=1` it hands out its clients.

FROM python:3.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# The tools that build our wheel stay in this stage's own Python; the service's packages go into /opt/venv.
COPY requirements-build.lock requirements.lock ./
RUN pip install --require-hashes --only-binary=:all: -r requirements-build.lock \
 && python -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python install --require-hashes --only-binary=:all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY ligand_async ligand_async
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheels . \
 && pip --python /opt/venv/bin/python install --no-deps --no-index /tmp/wheels/*.whl
# The generators of clients, 170 MB, stay in this stage's own Python too.
ARG CLIENTS=
COPY requirements-clients.lock ./
COPY examples examples
RUN mkdir /opt/clients \
 && if [ -n "$CLIENTS" ]; then \
        pip install --require-hashes --only-binary=:all: -r requirements-clients.lock \
        && pip install --no-deps --no-index /tmp/wheels/*.whl \
        && ligand --app examples.petstore.app:create_app client build --output /opt/clients; \
    fi

FROM python:3.13-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PORT=8000 LIGAND_CLIENTS_DIRECTORY=/opt/clients
RUN groupadd --gid 10001 ligand && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /srv ligand
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/clients /opt/clients
WORKDIR /srv
COPY migrations migrations
COPY examples examples
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/livez', timeout=2)"]
# No shell: the server is process 1 and gets the signals. It reads PORT itself.
CMD ["ligand", "--app", "examples.petstore.app:create_app", "serve", "--host", "0.0.0.0"]
