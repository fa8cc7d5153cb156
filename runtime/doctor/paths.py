"""Whether a path is there, as far as this user may see.

Before Python 3.14, `Path.exists` and its like raise PermissionError below a folder that the user
may not enter, such as root's home; os.path's functions return False.
"""

from __future__ import annotations

import os.path

exists, is_dir, is_file = os.path.exists, os.path.isdir, os.path.isfile
