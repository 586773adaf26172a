# Puts back what was there before a run. Arguments: the run. Exits with 70 where this host has no backup of it.
backup=$ours/backups/$service/$1
[ -d "$backup" ] || exit 70
copy=$backup/$(basename "$file")
if [ -e "$copy" ] && ! cmp -s "$copy" "$file"; then cp -p "$copy" "$file.new" && mv "$file.new" "$file"; fi
copy=$backup/$(basename "$pinned")
if [ -e "$copy" ]; then cp -p "$copy" "$pinned.new" && mv "$pinned.new" "$pinned"; else rm -f "$pinned"; fi
if [ -e "$backup/.names" ]; then
  # Only our own lines go back: others may have changed theirs since.
  copy=$backup/$(basename "$env_file")
  [ -e "$copy" ] || copy=/dev/null
  awk -F= -v copy="$copy" '
    NR == FNR { ours[$1] = 1; next }
    { key = $1; sub(/^[ \t]*(export[ \t]+)?/, "", key); sub(/[ \t]+$/, "", key) }
    !(key in ours) { print; next }
    !done { done = 1
      while ((getline line < copy) > 0) {
        split(line, part, "="); name = part[1]; sub(/^[ \t]*(export[ \t]+)?/, "", name); sub(/[ \t]+$/, "", name)
        if (name in ours) print line
      }
    }
  ' "$backup/.names" "$env_file" >"$ours/env.new" || stop 66 "$env_file cannot be written"
  cp -p "$env_file" "$ours/env.mode" && cat "$ours/env.new" >"$ours/env.mode" && mv "$ours/env.mode" "$env_file" ||
    stop 66 "$env_file cannot be written"
  rm -f "$ours/env.new"
fi
