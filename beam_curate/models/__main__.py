"""`python -m beam_curate.models`; see `beam_curate.models.commands`."""

import sys

from beam_curate.models.commands import main

sys.exit(main())
