#!/bin/sh
# numpy is Debian's python3-numpy, which another python3 in front of Debian's does not see.
for python in python3 /usr/bin/python3; do
    "$python" -c 'import numpy' 2>/dev/null && exec "$python" -B "$(dirname "$0")/formats.py"
done
exec python3 -B "$(dirname "$0")/formats.py"
