"""${message}

Revision: ${up_revision}
After: ${comma(down_revision) or "nothing"}
Created: ${create_date}
"""

import sqlalchemy as sa
from alembic import op
% for line in sorted(imports.splitlines() if imports else []):
${line}
% endfor

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
