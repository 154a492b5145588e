"""`python -m beam_curate.models`; see `beam_curate.cli.models`."""

import sys

from beam_curate.cli.models import main

sys.exit(main())
