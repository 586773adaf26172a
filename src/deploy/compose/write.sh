# Keeps what is there, and writes what shall be. Arguments: run, how many backups stay, image. On standard input: the
# lines of the environment file that are ours; none where the image is pinned in a file of its own.
run=$1 keep=$2 image=$3
backups=$ours/backups/$service
backup=$backups/$run
if [ ! -d "$backup" ]; then
  rm -rf "$backup.new"
  mkdir -p "$backup.new" || stop 66 "no backup can be written"
  for one in "$file" "$env_file" "$pinned"; do
    if [ -n "$one" ] && [ -e "$one" ]; then
      cp -p "$one" "$backup.new/$(basename "$one")" || stop 66 "no backup of $one can be written"
    fi
  done
  mv "$backup.new" "$backup"
fi
lines=$ours/lines.new
cat >"$lines" || stop 66 "the directory $directory cannot be written"
if [ -s "$lines" ]; then
  [ -e "$env_file" ] || : >"$env_file"
  awk -F= '
    NR == FNR { line[$1] = $0; name[++count] = $1; next }
    { key = $1; sub(/^[ \t]*(export[ \t]+)?/, "", key); sub(/[ \t]+$/, "", key) }
    key in line { if (!(key in seen)) print line[key]; seen[key] = 1; next }
    { print }
    END { for (i = 1; i <= count; i++) if (!(name[i] in seen)) { print line[name[i]]; seen[name[i]] = 1 } }
  ' "$lines" "$env_file" >"$ours/env.new" || stop 66 "$env_file cannot be written"
  cp -p "$env_file" "$ours/env.mode" && cat "$ours/env.new" >"$ours/env.mode" && mv "$ours/env.mode" "$env_file" ||
    stop 66 "$env_file cannot be written"
  cut -d= -f1 "$lines" >"$backup/.names"
fi
rm -f "$lines" "$ours/env.new"
if [ -n "$image" ]; then
  printf 'services:\n  "%s":\n    image: "%s"\n' "$service" "$image" >"$pinned.new" || stop 66 "$pinned cannot be written"
  mv "$pinned.new" "$pinned"
fi
# The oldest go; the one of this run stays.
ls -1t "$backups" | awk -v keep="$keep" -v own="$run" '$0 != own && ++count >= keep' | while read -r old; do
  rm -rf "${backups:?}/${old:?}"
done
