#!/usr/bin/env bash
# engine.sh ROOTFS FOLDER [dockerd flags]: the engine of a root file system beside another of this machine's, in
# namespaces of its own (network, mount): nothing of the host's bridge or packet filter is touched. As root.
# Socket: FOLDER/docker.sock, for the host, too; pid: FOLDER/dockerd.pid; log: FOLDER/log. It has no network out.
# /tmp is the host's: agents' sockets are there, in tests. Tests run in its network: `nsenter --net -t PID`.
# pivot_root and not chroot: in a chroot images cannot be loaded, and user namespaces are refused.
# ENGINE_ENV="NAME=VALUE ...": more of dockerd's environment.
set -euo pipefail
root=$1 folder=$2
shift 2
mkdir -p "$folder/data" "$root$folder" "$root/old"
exec setsid unshare --net --mount --propagation private bash -c '
  set -e
  root=$1 folder=$2
  shift 2
  ip link set lo up
  mount --bind "$root" "$root"
  cd "$root"
  mount -t proc proc proc
  mount --rbind /sys sys
  mount --rbind /dev dev
  mount -t tmpfs tmpfs run
  mount --bind /tmp tmp
  mkdir -p ".$folder"
  mount --bind "$folder" ".$folder"
  echo 1 >/proc/sys/net/ipv4/ip_forward || true
  pivot_root . old
  cd /
  /bin/umount -l /old
  exec /usr/bin/env ${ENGINE_ENV:-} PATH=/usr/sbin:/usr/bin:/sbin:/bin dockerd --data-root "$folder/data" \
    --exec-root "$folder/exec" --pidfile "$folder/dockerd.pid" -H "unix://$folder/docker.sock" --live-restore "$@"
' - "$root" "$folder" "$@" >"$folder/log" 2>&1 </dev/null
