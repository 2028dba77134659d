"""Stands in for the image `postgres`, where there is no registry: Debian's PostgreSQL with an entrypoint that does what that
image's does with the same variables, as far as docker-compose.yml relies on it."""
import io
import subprocess
import tarfile

import base_image
from postgres_server import programs

ENTRYPOINT = """#!/bin/sh
set -eu
as_postgres() { setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"; }
chown postgres /var/run/postgresql
mkdir -p "$PGDATA"
chown -R postgres "$PGDATA"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    password=$(mktemp)
    tr -d '\\n' <"$POSTGRES_PASSWORD_FILE" >"$password"
    chown postgres "$password"
    as_postgres initdb --no-sync --locale=C.UTF-8 -U "$POSTGRES_USER" --pwfile="$password" $POSTGRES_INITDB_ARGS >/dev/null
    as_postgres pg_ctl -s -w -o "-c listen_addresses=" start
    PGPASSWORD=$(cat "$password") as_postgres createdb -h /var/run/postgresql -U "$POSTGRES_USER" "$POSTGRES_DB"
    as_postgres pg_ctl -s -w stop
    rm "$password"
fi
exec setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"
"""

DOCKERFILE = """FROM {base}
RUN useradd --uid 999 --user-group postgres && install -d -m 3775 -o postgres /var/run/postgresql /var/lib/postgresql
COPY entrypoint /entrypoint
ENV PATH={programs}:/usr/bin:/bin:/usr/sbin:/sbin
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
ENTRYPOINT ["/entrypoint"]
CMD ["postgres"]
"""


def make(name, environment):
    """Builds it under this name on the engine that `environment` says (DOCKER_HOST)."""
    package = "postgresql-" + programs().split("/")[4]
    base = base_image.make("terminals-test-postgres-base", [package, "passwd"], environment)
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for path, text in (("Dockerfile", DOCKERFILE.format(base=base, programs=programs())), ("entrypoint", ENTRYPOINT)):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(text.encode()), 0o755
            archive.addfile(entry, io.BytesIO(text.encode()))
    subprocess.run(["docker", "build", "-q", "-t", name, "-"], env=environment, input=context.getvalue(), check=True,
                   stdout=subprocess.DEVNULL)
    return name
