# Starts what is written. Arguments: seconds.
compose up -d --wait --wait-timeout "$1" "$service" 2>&1
