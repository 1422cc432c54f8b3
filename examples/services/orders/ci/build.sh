#!/bin/sh
# Builds and tries the checked-out commit; with IMAGE it also packs and pushes its image. Any CI can run it. It needs Java 17, Maven
# and curl, for the image also crane (https://github.com/google/go-containerregistry), logged in to the registry, and in the environment:
#   IMAGE   the repository to push to, such as registry.example.com/acme/orders; without it nothing is pushed
#   BASE    an image with a Java 17 runtime as `java` on its PATH
#   CRANE_FLAGS   such as --insecure; optional
set -eu
cd "$(dirname "$0")/.."
commit=$(git rev-parse HEAD)

echo "build"
mvn -B -q -ntp clean package dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=target/lib

echo "try"
port=$((20000 + $$ % 10000))
java -Dcamel.server.port="$port" -Dcamel.management.port=$((port + 1)) \
    -cp 'target/classes:target/lib/*' org.apache.camel.main.Main >target/try.log 2>&1 &
tried=$!
trap 'kill "$tried" 2>/dev/null || true' EXIT
curl -sS --retry 60 --retry-delay 1 --retry-connrefused "http://127.0.0.1:$port/orders" 2>/dev/null \
    | grep -F '"service": "orders"' || { cat target/try.log; exit 1; }
kill "$tried"

[ -n "${IMAGE:-}" ] || { echo "no IMAGE: nothing is pushed"; exit 0; }
echo "pack and push"
pack() { # pack LAYER DIRECTORY PATH: the same files give the same layer
    tar --create --file "$1" --directory "$2" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
        --mode=a+rX,go-w --transform "s,^\.,$3,S" .
}
pack target/lib.tar target/lib app/lib
pack target/classes.tar target/classes app/classes
# The first push has a name of its own: the commit's tag must appear only once the image is complete.
built=$(crane append ${CRANE_FLAGS:-} --base "$BASE" -f target/lib.tar,target/classes.tar -t "$IMAGE:building")
crane mutate ${CRANE_FLAGS:-} "$built" --user 65532:65532 --exposed-ports 8080/tcp,9876/tcp \
    --entrypoint java,-cp,'/app/classes:/app/lib/*',org.apache.camel.main.Main -t "$IMAGE:$commit"
