# Runs a program of the host. Arguments: the program with its own.
exec "$@"
