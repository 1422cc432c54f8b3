#!/bin/sh
# Tests and builds the checked-out commit; with IMAGE it also packs and pushes its image. Any CI can run it. It needs Go, for
# the image also crane (https://github.com/google/go-containerregistry), logged in to the registry, and in the environment:
#   IMAGE   the repository to push to, such as registry.example.com/acme/settlement; without it nothing is pushed
#   CRANE_FLAGS   such as --insecure; optional
set -eu
cd "$(dirname "$0")/.."
commit=$(git rev-parse HEAD)

echo "test and build"
rm -rf target
mkdir target
go test ./...
CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -buildid=' -o target/root/settlement .

[ -n "${IMAGE:-}" ] || { echo "no IMAGE: nothing is pushed"; exit 0; }
echo "pack and push"
# The same program gives the same layer.
tar --create --file target/layer.tar --directory target/root --sort=name --mtime=@0 \
    --owner=0 --group=0 --numeric-owner --mode=a+rX,go-w settlement
# The first push has a name of its own: the commit's tag must appear only once the image is complete.
built=$(crane append ${CRANE_FLAGS:-} --oci-empty-base -f target/layer.tar -t "$IMAGE:building")
crane mutate ${CRANE_FLAGS:-} "$built" --set-platform "linux/$(go env GOARCH)" --user 65532:65532 \
    --entrypoint /settlement -t "$IMAGE:$commit"
