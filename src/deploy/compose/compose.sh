# How Docker Compose is called: with the file, every image that is pinned beside it, the project and the environment file.
# Arguments: compose file, project or nothing, environment file or nothing, service; the rest belongs to the script.
file=$1 project=$2 env_file=$3 service=$4
shift 4
pinned=$(dirname "$file")/$service.tidegate.yaml
compose() { # what to do, with its arguments
  what=$1
  shift
  set -- "$what" "$@"
  if [ -n "$env_file" ] && [ -e "$env_file" ]; then set -- --env-file "$env_file" "$@"; fi
  if [ -n "$project" ]; then set -- -p "$project" "$@"; fi
  for other in "$(dirname "$file")"/*.tidegate.yaml; do
    if [ -e "$other" ]; then set -- -f "$other" "$@"; fi
  done
  docker compose -f "$file" "$@"
}
