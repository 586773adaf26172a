# Whether the host can do it. Arguments: KiB that must be free, or 0. Prints `os/architecture` of its engine.
[ -f "$file" ] || stop 65 "the compose file $file is not in $directory"
command -v docker >/dev/null || stop 67 "docker is not on the PATH of this account"
docker compose version >/dev/null 2>&1 || stop 67 "this docker has no compose: install its plugin"
platform=$(docker version --format '{{.Server.Os}}/{{.Server.Arch}}' 2>&1) || stop 67 "the docker engine does not answer: $platform"
command -v flock >/dev/null || stop 67 "flock is not on the PATH of this account: install util-linux"
if [ "$1" -gt 0 ]; then
  free=$(df -Pk . | awk 'NR == 2 { print $4 }')
  [ "$free" -ge "$1" ] || stop 68 "$free KiB are free in $directory, and $1 KiB must be"
fi
printf '%s\n' "$platform"
