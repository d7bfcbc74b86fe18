#!/usr/bin/env bash
# Builds the image of this checkout without pulling a base image: both bases are made here from Debian's packages, the
# builder with the Rust toolchain of this machine. Then unpacks it, so that test_image.py can look at it and run it.
#
#   jobdef/check/image.sh WORK [CONTEXT]
#
# WORK is a directory that is kept between runs (the bases). CONTEXT is the checkout to build, by default this one. The
# variable IMAGE_PROFILE is the cargo profile of the build, by default the Dockerfile's own.
# Leaves WORK/rootfs (the image's file system), WORK/config.json (its configuration) and WORK/build.log.
# Needs root, cargo, buildah, debootstrap and 4 GB of disk, and exits 77 with a line that says so where it cannot have them.
set -euo pipefail

work=$(mkdir -p "$1" && cd "$1" && pwd)
context=$(cd "${2:-$(dirname "$0")/../..}" && pwd)
suite=trixie
tag=localhost/sqs-drain:check

skip() { echo "image: skipped: $*" >&2; exit 77; }
[ "$(id -u)" = 0 ] || skip "needs root for chroot"
unshare --mount --pid --fork true 2>/dev/null || skip "needs namespaces of its own, which this machine does not give even to root"
command -v cargo >/dev/null || skip "needs cargo"
free_kb=$(df --output=avail "$work" | tail -n 1)
[ "$free_kb" -ge 4000000 ] || skip "needs 4 GB of disk where $work is, there are $((free_kb / 1000000))"
for tool in buildah debootstrap; do
  command -v $tool >/dev/null && continue
  command -v apt-get >/dev/null || skip "needs $tool"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $tool; } >/dev/null 2>&1 ||
    skip "cannot install $tool"
done

buildah_() { buildah --storage-driver vfs --root "$work/storage" --runroot "$work/run" "$@"; }

# What rust:slim is, less the toolchain: Debian, a C compiler, CA certificates. Made once.
if [ ! -e "$work/builder.done" ]; then
  rm -rf "$work/builder"
  debootstrap --variant=minbase --include=gcc,libc6-dev,ca-certificates $suite "$work/builder" \
    "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$work/debootstrap.log" 2>&1 || skip "cannot debootstrap $suite, see $work/debootstrap.log"
  touch "$work/builder.done"
fi
if ! buildah_ inspect --type image localhost/sqs-drain-builder >/dev/null 2>&1; then
  base=$(buildah_ from scratch)
  buildah_ copy -q "$base" "$work/builder" / >/dev/null
  buildah_ config --env PATH=/usr/local/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    --env CARGO_HOME=/usr/local/cargo --env CARGO_NET_OFFLINE=true "$base"
  buildah_ commit -q --rm "$base" localhost/sqs-drain-builder >/dev/null
fi

# What gcr.io/distroless/cc is: these packages unpacked, no shell, a certificate bundle, a user `nonroot`.
if [ ! -e "$work/runtime.done" ]; then
  rm -rf "$work/runtime"
  mkdir -p "$work/runtime"
  for package in base-files libc6 libgcc-s1 libstdc++6 libgomp1 gcc-14-base zlib1g tzdata; do
    deb=$(find "$work/builder/var/cache/apt/archives" -name "${package}_*.deb" | head -n 1)
    if [ -n "$deb" ]; then dpkg-deb -x "$deb" "$work/runtime"; else echo "image: note: no package $package in the base" >&2; fi
  done
  rm -rf "$work/runtime/usr/share/doc" "$work/runtime/usr/share/man" "$work/runtime/usr/share/lintian"
  mkdir -p "$work/runtime/etc/ssl/certs" "$work/runtime/tmp" "$work/runtime/home/nonroot"
  chmod 1777 "$work/runtime/tmp"
  cp "$work/builder/etc/ssl/certs/ca-certificates.crt" "$work/runtime/etc/ssl/certs/"
  printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' >"$work/runtime/etc/passwd"
  printf 'root:x:0:\nnonroot:x:65532:\n' >"$work/runtime/etc/group"
  touch "$work/runtime.done"
fi
if ! buildah_ inspect --type image localhost/sqs-drain-runtime >/dev/null 2>&1; then
  base=$(buildah_ from scratch)
  buildah_ copy -q "$base" "$work/runtime" / >/dev/null
  buildah_ config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt "$base"
  buildah_ commit -q --rm "$base" localhost/sqs-drain-runtime >/dev/null
fi

# The build itself: the Dockerfile as it is, the bases by its build arguments, crates from this machine's registry cache.
# Without layers: with this storage driver each is a whole copy of all before it, and seven of those are 6 GB.
(cd "$context" && cargo fetch --locked --quiet)
sysroot=$(cd "$context" && rustc --print sysroot)
mkdir -p "${CARGO_HOME:-$HOME/.cargo}/registry"
nice -n 10 "$(command -v buildah)" --storage-driver vfs --root "$work/storage" --runroot "$work/run" bud \
  --isolation chroot --layers=false --force-rm --pull-never \
  --build-arg BUILDER_IMAGE=localhost/sqs-drain-builder --build-arg RUNTIME_IMAGE=localhost/sqs-drain-runtime \
  ${IMAGE_PROFILE:+--build-arg PROFILE="$IMAGE_PROFILE"} --build-arg VERSION=check \
  --build-arg REVISION="$(git -C "$context" rev-parse HEAD 2>/dev/null || echo none)" \
  --volume "$sysroot:/usr/local/rust:ro" --volume "${CARGO_HOME:-$HOME/.cargo}/registry:/usr/local/cargo/registry:rw" \
  --tag "$tag" --file "$context/Dockerfile" "$context" >"$work/build.log" 2>&1 || { tail -n 40 "$work/build.log" >&2; exit 1; }

buildah_ inspect --type image "$tag" >"$work/config.json"
container=$(buildah_ from --pull-never "$tag")
mounted=$(buildah_ mount "$container")
rm -rf "$work/rootfs"
cp -a "$mounted" "$work/rootfs"
buildah_ umount "$container" >/dev/null
buildah_ rm "$container" >/dev/null
echo "image: $(du -s --apparent-size --block-size=1 "$work/rootfs" | cut -f1) bytes in all, $(stat -c %s "$work/rootfs/usr/local/bin/sqs-drain") of them the binary"
