#!/bin/sh
# Builds the carbon application of the checked-out commit; with IMAGE it also packs and pushes its image. Any CI can run it. It needs
# Java 17 and Maven, whose settings name WSO2's own repository, for the image also crane
# (https://github.com/google/go-containerregistry), logged in to the registry, and in the environment:
#   IMAGE   the repository to push to, such as registry.example.com/acme/payments; without it nothing is pushed
#   BASE    wso2/wso2mi:<the version below>, or a copy of it in your registry
#   CRANE_FLAGS   such as --insecure; optional
set -eu
cd "$(dirname "$0")/.."
commit=$(git rev-parse HEAD)
version=4.4.0   # of Micro Integrator: it is part of the server home's path

echo "build"
mvn -B -q -ntp clean install

[ -n "${IMAGE:-}" ] || { echo "no IMAGE: nothing is pushed"; exit 0; }
echo "pack and push"
# The same application gives the same layer. 10802 is the user wso2carbon of these images.
tar --create --file target/layer.tar --directory target --sort=name --mtime=@0 --owner=10802 --group=10802 --numeric-owner \
    --mode=a+rX,go-w --transform "s,^\./,home/wso2carbon/wso2mi-$version/repository/deployment/server/carbonapps/," \
    $(cd target && ls ./*.car)
crane append ${CRANE_FLAGS:-} --base "$BASE" -f target/layer.tar -t "$IMAGE:$commit"
