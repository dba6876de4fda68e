# scv as one image: `docker run scv worker`, `docker run scv topics create`, any other command of `scv --help`.
FROM python:3.11-slim

# A worker's log lines are seen as they are written.
ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# The embedded servers of `scv demo` and `scv up` keep their binaries in the home directory.
RUN useradd --create-home --uid 10001 scv

# Where docker-compose.yml keeps the API keys: a volume takes over whose it is.
RUN install --directory --owner scv --mode 0700 /var/lib/scv

WORKDIR /opt/scv
COPY pyproject.toml constraints.txt README.md ./
COPY models models
COPY projections projections
COPY stores stores
COPY eventlog eventlog
COPY streams streams
COPY api api
COPY ops ops

# Every dependency comes as a wheel, in the version that the tests ran with: no compiler needed.
RUN pip install -c constraints.txt .

USER scv
WORKDIR /home/scv
ENTRYPOINT ["scv"]
CMD ["--help"]
