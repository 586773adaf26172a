# What runs: for each container of the service a line `container`, and a line for each name under which its image is known.
# Nothing where nothing runs.
[ -f "$file" ] || stop 65 "the compose file $file is not in $directory"
containers=$(compose ps -q --status running "$service" 2>/dev/null) || containers=
for container in $containers; do
  printf 'container %s\n' "$container"
  image=$(docker inspect --format '{{.Image}}' "$container") || continue
  docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$image" || true
done
