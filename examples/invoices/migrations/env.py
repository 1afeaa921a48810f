"""The Alembic environment of this service: `ligand db` runs it, with the app's own engine.

What this service needs beyond the framework's choices is passed on to Alembic's `context.configure`, such as
`run_environment(options={"include_object": ...})`.
"""

from ligand_async.data.migrations import run_environment

run_environment()
